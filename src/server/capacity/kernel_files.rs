//! Reads small files in which the kernel shows its state. A file that cannot be read tells nothing,
//! and that is never an error. No file is read without a bound.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// More than any of these files has.
const LONGEST_TEXT: u64 = 64 * 1024;
/// The longest list, such as one of 200,000 memory maps.
const LONGEST_LIST: u64 = 32 << 20;

/// Returns the text of a file.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(LONGEST_TEXT).read_to_end(&mut bytes).ok()?;

    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the number in a file that has nothing else in it. The word `max`, for instance, is none.
pub(super) fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// Returns how many lines a file has.
pub(super) fn count_lines(path: impl AsRef<Path>) -> Option<u64> {
    let file = File::open(path).ok()?;
    let mut list = BufReader::new(file.take(LONGEST_LIST));
    let mut lines = 0;

    loop {
        let chunk = list.fill_buf().ok()?;
        if chunk.is_empty() {
            return Some(lines);
        }

        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        list.consume(length);
    }
}
