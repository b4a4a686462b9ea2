//! Patterns in which `*` stands for any characters.

/// Whether `text` is `pattern`, in which `*` stands for any characters.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut rest = rest;
    // Each middle piece is taken at its first place, the last one at the end.
    while let Some((piece, after)) = rest.split_once('*') {
        let Some(found) = text.find(piece) else { return false };
        text = &text[found + piece.len()..];
        rest = after;
    }
    text.ends_with(rest)
}
