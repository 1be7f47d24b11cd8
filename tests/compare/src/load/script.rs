//! The script: one stream of lines that is made beforehand and shared by all connections. Each
//! connection begins at its own line and goes round and round.
//!
//! Sending lines means writing a slice of the script. Checking an answer means comparing it with a
//! slice. So every byte of every answer is compared, at the speed of `memcmp`. All lines are
//! different, because each begins with its number. An answer that is lost, repeated, out of order
//! or from another connection therefore shows as a wrong byte. That holds only within one round of
//! the script, and only for lines that are long enough to hold their number.

/// The script has at least this many bytes and at least this many lines.
const BYTES: usize = 1 << 20;
const LINES: usize = 4096;

/// The script never has more bytes than this. Bytes that do not stay in a processor's cache slow
/// the generator down.
const MOST_BYTES: usize = 8 << 20;

const TERMINATOR: &[u8] = b"\r\n";

/// The stream of lines.
pub struct Script {
    bytes: Vec<u8>,
    /// The end of each line behind its terminator, ascending. The last one is the end of the
    /// stream.
    ends: Vec<usize>,
}

impl Script {
    /// Makes lines of these lengths, as often as their weights say. The order is mixed, and always
    /// the same.
    pub fn new(lengths: &[(usize, u32)]) -> Self {
        let mut random = Random(1);
        let lengths = mix(lengths, &mut random);
        let digits = lengths.len().to_string().len();
        let mut bytes = Vec::with_capacity(lengths.iter().map(|length| length + 2).sum());
        let mut ends = Vec::with_capacity(lengths.len());

        for (number, length) in lengths.into_iter().enumerate() {
            let number = format!("{number:0digits$} ");
            // A short line keeps the low digits, which differ from its neighbours'.
            let from = digits.saturating_sub(length);
            let until = number.len().min(from + length);

            bytes.extend_from_slice(&number.as_bytes()[from..until]);
            bytes.extend((until - from..length).map(|_| random.printable()));
            bytes.extend_from_slice(TERMINATOR);
            ends.push(bytes.len());
        }

        Self { bytes, ends }
    }

    /// Returns up to `length` bytes of the stream from `at` on, but not beyond its end.
    pub fn slice(&self, at: usize, length: usize) -> &[u8] {
        &self.bytes[at..self.bytes.len().min(at + length)]
    }

    /// Returns `at`, or the beginning if `at` is the end.
    pub fn wrap(&self, at: usize) -> usize {
        if at == self.bytes.len() { 0 } else { at }
    }

    /// Returns the line with this number, counted round and round.
    pub fn line(&self, number: u64) -> usize {
        let lines = u64::try_from(self.ends.len()).expect("a length");
        usize::try_from(number % lines).expect("below a length")
    }

    /// Returns the place where `line` begins.
    pub fn beginning(&self, line: usize) -> usize {
        if line == 0 { 0 } else { self.ends[line - 1] }
    }

    /// Returns the line that comes `count` lines after `line`, and the bytes between their
    /// beginnings.
    pub fn skip(&self, line: usize, count: usize) -> (usize, usize) {
        let rounds = (line + count) / self.ends.len();
        let after = (line + count) % self.ends.len();
        let bytes = rounds * self.bytes.len() + self.beginning(after) - self.beginning(line);
        (after, bytes)
    }

    /// Returns how many of the `most` lines from `line` on end at or before `at`. Lines behind the
    /// end of the stream do not count.
    pub fn ended(&self, line: usize, most: usize, at: usize) -> usize {
        let until = self.ends.len().min(line + most);
        self.ends[line..until].partition_point(|&end| end <= at)
    }
}

/// Chooses the length of each line of the stream.
fn mix(lengths: &[(usize, u32)], random: &mut Random) -> Vec<usize> {
    // As many lines as needed, as long as they fit.
    let weights: f64 = lengths.iter().map(|&(_, weight)| f64::from(weight)).sum();
    let mean = lengths
        .iter()
        .map(|&(length, weight)| (length + TERMINATOR.len()) as f64 * f64::from(weight) / weights)
        .sum::<f64>();
    let fitting = |bytes: usize| (bytes as f64 / mean) as usize;
    let count = fitting(BYTES).max(LINES).min(fitting(MOST_BYTES)).max(1);

    // Each line gets the length that is furthest behind its share. So even a few lines keep the
    // shares.
    let mut given = vec![0.0; lengths.len()];
    let mut lines: Vec<usize> = (1..=count)
        .map(|so_far| {
            let behind =
                |index: usize| f64::from(lengths[index].1) / weights * so_far as f64 - given[index];

            let next = (0..lengths.len())
                .max_by(|&a, &b| behind(a).total_cmp(&behind(b)))
                .expect("a load has a length");
            given[next] += 1.0;
            lengths[next].0
        })
        .collect();

    // Shuffle them.
    for last in (1..lines.len()).rev() {
        lines.swap(last, random.below(last + 1));
    }
    lines
}

/// Makes pseudo-random numbers that are the same each time, with Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    /// Returns a character from space to tilde.
    fn printable(&mut self) -> u8 {
        b' ' + self.below(95) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(script: &Script) -> Vec<&[u8]> {
        (0..script.ends.len())
            .map(|line| &script.bytes[script.beginning(line)..script.ends[line]])
            .collect()
    }

    #[test]
    fn lines_differ_and_hold_no_terminator() {
        let script = Script::new(&[(32, 1)]);
        let mut lines = lines(&script);
        assert!(lines.len() >= LINES && script.bytes.len() + 34 > BYTES);
        for line in &lines {
            assert_eq!(line.len(), 34);
            let (text, terminator) = line.split_at(32);
            assert_eq!(terminator, TERMINATOR);
            assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count);
    }

    #[test]
    fn lengths_come_as_often_as_their_weights_say() {
        let script = Script::new(&[(32, 8), (512, 2), (8000, 1)]);
        let lines = lines(&script);
        let share = |length: usize| {
            let of = lines.iter().filter(|line| line.len() == length + 2).count();
            of as f64 / lines.len() as f64 * 11.0
        };
        for (length, weight) in [(32, 8.0), (512, 2.0), (8000, 1.0)] {
            let share = share(length);
            assert!((share - weight).abs() < 0.05, "{length}: {share}");
        }
        let first = lines.iter().take(40).filter(|line| line.len() > 34);
        assert!(first.count() > 0, "they are not mixed");
    }

    #[test]
    fn lines_too_short_for_their_number_hold_its_last_digits() {
        for length in 0..8 {
            let script = Script::new(&[(length, 1)]);
            let digits = script.ends.len().to_string().len();
            let number = format!("{:0digits$} ", 12);
            let expected = &number[digits.saturating_sub(length)..];
            let line = lines(&script)[12];
            assert_eq!(line.len(), length + 2);
            assert!(
                expected
                    .as_bytes()
                    .starts_with(&line[..length.min(expected.len())])
            );
        }
    }

    #[test]
    fn a_longest_line_keeps_the_stream_short() {
        let script = Script::new(&[(64 * 1024, 1)]);
        assert!(script.bytes.len() <= MOST_BYTES && script.ends.len() > 100);
    }

    #[test]
    fn skipping_goes_round() {
        let script = Script::new(&[(10, 1), (100, 1)]);
        let count = script.ends.len();
        assert_eq!(script.skip(5, count), (5, script.bytes.len()));
        assert_eq!(script.skip(count - 1, 1).0, 0);
        let (line, bytes) = script.skip(3, 2 * count + 4);
        let expected = 2 * script.bytes.len() + script.ends[6] - script.ends[2];
        assert_eq!((line, bytes), (7, expected));
    }

    #[test]
    fn lines_end_where_their_last_byte_is() {
        let script = Script::new(&[(10, 1)]);
        assert_eq!(script.ended(2, 5, script.ends[3] - 1), 1);
        assert_eq!(script.ended(2, 5, script.ends[3]), 2);
        assert_eq!(script.ended(2, 1, script.ends[3]), 1);
    }
}
