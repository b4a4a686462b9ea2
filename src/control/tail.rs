//! The last lines of the log, kept for those who ask by the API. A program has one log, and this is the end of it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Lines that are kept.
const LINES_MAX: usize = 1_000;

/// Letters of a line that are kept: what is longer is cut.
const LINE_BYTES_MAX: usize = 1_024;

static TAIL: Mutex<Tail> = Mutex::new(Tail { lines: VecDeque::new(), count: 0 });

/// The end of the log: 1 MiB at most.
struct Tail {
    lines: VecDeque<String>,
    /// Lines that there have been.
    count: u64,
}

/// Some lines of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// How many lines there have been up to the last of them.
    pub count: u64,
}

/// Keeps what was written to the log: whole lines.
pub fn keep(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut tail = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    text.lines().for_each(|line| tail.push(line));
}

/// The last lines behind so many that were seen, `max` at most.
pub fn since(seen: u64, max: usize) -> Part {
    TAIL.lock().unwrap_or_else(PoisonError::into_inner).since(seen, max)
}

impl Tail {
    fn push(&mut self, line: &str) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(plain(line));
        self.count += 1;
    }

    fn since(&self, seen: u64, max: usize) -> Part {
        // Who has seen more than there is asks about another run of the program.
        let unseen = self.count.checked_sub(seen).unwrap_or(self.count);
        let wanted = self.lines.len().min(max).min(usize::try_from(unseen).unwrap_or(usize::MAX));
        let lines = self.lines.iter().skip(self.lines.len() - wanted).cloned().collect();
        Part { lines, count: self.count }
    }
}

/// A line as it is without colours, cut to its length.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len().min(LINE_BYTES_MAX));
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // A colour of a terminal ends with a letter.
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else if out.len() + letter.len_utf8() <= LINE_BYTES_MAX {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_told_once() {
        let mut tail = Tail { lines: VecDeque::new(), count: 0 };
        for number in 0..LINES_MAX + 5 {
            tail.push(&format!("\u{1b}[2mline\u{1b}[0m {number}"));
        }
        let all = tail.since(0, usize::MAX);
        assert_eq!((all.lines.len(), all.count), (LINES_MAX, LINES_MAX as u64 + 5));
        assert_eq!((&*all.lines[0], &*all.lines[LINES_MAX - 1]), ("line 5", "line 1004"));
        assert_eq!(tail.since(all.count, 10).lines, [""; 0]);
        tail.push("next");
        assert_eq!(tail.since(all.count, 10).lines, ["next"]);
        assert_eq!(tail.since(all.count + 500, 2).lines, ["line 1004", "next"], "another run");
    }

    #[test]
    fn a_long_line_is_cut_between_letters() {
        let line = plain(&"é".repeat(LINE_BYTES_MAX));
        assert_eq!(line.len(), LINE_BYTES_MAX);
    }
}
