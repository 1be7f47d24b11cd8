//! The values that the targets make of the fuzzer's bytes: a stream, the reads that cut it,
//! terminators.

use std::io::{self, ErrorKind, Read};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use synchat::Terminator;

/// The letters of the stream and of its terminators. There are all bytes, or so few that
/// terminators and their false starts are frequent.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Alphabet {
    All,
    First(u8),
}

impl Alphabet {
    pub fn spell(self, bytes: &[u8]) -> Vec<u8> {
        const LETTERS: &[u8] = b"\r\nab";
        match self {
            Self::All => bytes.to_vec(),
            Self::First(letters) => {
                let letters = &LETTERS[..1 + usize::from(letters) % LETTERS.len()];
                let spell = |byte: &u8| letters[usize::from(*byte) % letters.len()];
                bytes.iter().map(spell).collect()
            }
        }
    }
}

/// The end of a message.
#[derive(Arbitrary, Debug)]
pub enum Ending<'a> {
    Bytes(&'a [u8]),
    Length(u8),
    /// Seldom reached, if ever.
    FarLength(u64),
    None,
}

impl Ending<'_> {
    pub fn terminator(&self, alphabet: Alphabet) -> Terminator {
        match *self {
            Self::Bytes(bytes) => alphabet.spell(bytes).into(),
            Self::Length(count) => u64::from(count).into(),
            Self::FarLength(count) => count.into(),
            Self::None => Terminator::None,
        }
    }
}

/// Reads a stream as a script says, over and over. Each byte of the script is one read of half as
/// many bytes, or of all that are wanted if the byte is 0. An interruption comes before an even
/// byte, and a timeout before 1.
pub struct Reads<'a> {
    stream: &'a [u8],
    script: &'a [u8],
    step: usize,
    /// This step's error has been returned.
    has_failed: bool,
    /// The number of bytes of the stream that were read.
    pub given: usize,
    /// The reader was told of the end of the stream.
    pub has_ended: bool,
}

impl<'a> Reads<'a> {
    pub fn new(stream: &'a [u8], script: &'a [u8]) -> Self {
        // Without a script everything is read at once.
        let script = if script.is_empty() { &[0] } else { script };
        Self {
            stream,
            script,
            step: 0,
            has_failed: false,
            given: 0,
            has_ended: false,
        }
    }
}

impl Read for Reads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = self.script[self.step % self.script.len()];
        let failure = match step {
            1 => Some(ErrorKind::WouldBlock),
            _ => step.is_multiple_of(2).then_some(ErrorKind::Interrupted),
        };

        if let Some(kind) = failure.filter(|_| !self.has_failed) {
            self.has_failed = true;
            return Err(kind.into());
        }

        self.has_failed = false;
        self.step += 1;
        let wanted = match usize::from(step / 2) {
            0 => buffer.len(),
            size => size.min(buffer.len()),
        };

        let rest = &self.stream[self.given..];
        let length = wanted.min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        self.has_ended = length == 0;
        Ok(length)
    }
}
