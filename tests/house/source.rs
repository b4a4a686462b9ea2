//! Just enough of Rust's grammar to see which paths a file names: comments and literals are blanked, `use` trees
//! are unfolded.

/// A source file without comments and literals; every line stays where it was.
pub(crate) struct Source {
    code: String,
}

/// A path such as `crate::shard::Shard`.
pub(crate) struct Used {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Source {
        Source { code: blank(text) }
    }

    /// Identifiers with their lines.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().flat_map(|(index, line)| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty())
                .map(move |word| (index + 1, word))
        })
    }

    /// Lines with code on them, before the tests.
    pub(crate) fn code_lines(&self) -> usize {
        let end = self.code.find("#[cfg(test)]").unwrap_or(self.code.len());
        self.code[..end].lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// Every path, those in `use` trees unfolded.
    pub(crate) fn paths(&self) -> Vec<Used> {
        let tokens = tokens(&self.code);
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at].1 == "use" {
                at = tree(&tokens, at + 1, &[], &mut paths);
            } else if is_word(tokens[at].1) {
                let line = tokens[at].0;
                let mut segments = vec![tokens[at].1.to_owned()];
                while follows(&tokens, at + 1, "::") && tokens.get(at + 2).is_some_and(|t| is_word(t.1)) {
                    segments.push(tokens[at + 2].1.to_owned());
                    at += 2;
                }
                if segments.len() > 1 {
                    paths.push(Used { line, segments });
                }
            }
            at += 1;
        }
        paths
    }
}

type Token<'a> = (usize, &'a str);

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn follows(tokens: &[Token], at: usize, what: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.1 == what)
}

/// Words, `::` and single characters.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let size = if is_word(rest) {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push((index + 1, &rest[..size]));
            rest = rest[size..].trim_start();
        }
    }
    tokens
}

/// Unfolds one `use` tree from `at` on; returns the index behind it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<Used>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.0);
    while let Some((_, token)) = tokens.get(at) {
        match *token {
            "::" => at += 1,
            "as" => at += 2,
            "*" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && !follows(tokens, at, "}") {
                    at = tree(tokens, at, &segments, paths);
                    if follows(tokens, at, ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            word if is_word(word) => {
                segments.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    paths.push(Used { line, segments });
    at
}

/// Replaces comments by nothing and the insides of literals by `x`.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (size, keep) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), Keep::Nothing)
        } else if rest.starts_with("/*") {
            (block_comment(rest), Keep::Nothing)
        } else if let Some(size) = raw_string(rest).filter(|_| !out.ends_with(is_part_of_word)) {
            (size, Keep::Shape)
        } else if c == '"' {
            (string(rest), Keep::Shape)
        } else if c == '\'' {
            character(rest).map_or((1, Keep::All), |size| (size, Keep::Shape))
        } else {
            (c.len_utf8(), Keep::All)
        };
        for c in rest[..size].chars() {
            out.push(match keep {
                Keep::All => c,
                _ if c.is_whitespace() => c,
                Keep::Shape => '"',
                Keep::Nothing => ' ',
            });
        }
        rest = &rest[size..];
    }
    out
}

enum Keep {
    All,
    Shape,
    Nothing,
}

fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let close = inside.find(&end)? + end.len();
    Some(text.len() - inside.len() + close)
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The size of a character literal; None for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
}

#[test]
fn comments_and_literals_are_blanked() {
    let code = blank("a /* x /* y */ z */ b // c\n\"d\\\"e\" r#\"f\"g\"# '\"' 'h' i<'j> b'\\'' k");
    let words: Vec<_> = code.split_whitespace().filter(|word| !word.starts_with('"')).collect();
    assert_eq!(words, ["a", "b", "i<'j>", "b\"\"\"\"", "k"]);
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn use_trees_are_unfolded() {
    let source = Source::new("use a::{b::{c, d as e}, f::*, self};\nfn g() { h::i::<J>::k(); l }");
    let paths: Vec<_> =
        source.paths().iter().map(|used| format!("{} {}", used.line, used.segments.join("::"))).collect();
    assert_eq!(paths, ["1 a::b::c", "1 a::b::d", "1 a::f", "1 a::self", "2 h::i"]);
}
