//! Finds the first place of a byte in a slice, fast for near places and for far ones.
//!
//! Blocks of 16 bytes that do not have the byte are skipped: of a block the compiler makes four vector
//! instructions. In the block that has it, a bit count in a plain integer gives the place.

/// Returns the number of bytes up to and including the first `byte`, if it is there.
#[inline]
pub(crate) fn skip_through(byte: u8, haystack: &[u8]) -> Option<usize> {
    let (blocks, rest) = haystack.as_chunks::<16>();

    for (before, block) in blocks.iter().enumerate() {
        let has_byte = |found, other: &u8| found | (*other == byte);
        if block.iter().fold(false, has_byte) {
            return Some(16 * before + place_in_block(byte, *block) + 1);
        }
    }

    let place = rest.iter().position(|other| *other == byte)?;
    Some(16 * blocks.len() + place + 1)
}

/// Returns the first place of a byte in a block that has it.
#[inline]
fn place_in_block(byte: u8, block: [u8; 16]) -> usize {
    const LOW_BITS: u128 = u128::from_ne_bytes([0x01; 16]);
    const HIGH_BITS: u128 = u128::from_ne_bytes([0x80; 16]);

    // A byte of `difference` is 0 where the bytes are equal. Subtracting 1 sets the high bit of each 0.
    // The borrow can also set the bit of a byte above, so only the lowest bit is sure.
    let difference = u128::from_le_bytes(block) ^ u128::from_ne_bytes([byte; 16]);
    let zeros = difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS;
    zeros.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_plain_search_finds() {
        // All lengths around the word size and around the end of the near part, and all places. The
        // other bytes are those whose borrows and high bits could mislead the integer search.
        for length in (0..34).chain(60..76) {
            for wanted in [0x00, 0x01, b'\r', 0x7f, 0x80, 0xff] {
                for other in [
                    wanted.wrapping_add(1),
                    wanted.wrapping_sub(1),
                    wanted ^ 0x80,
                ] {
                    assert_eq!(skip_through(wanted, &vec![other; length]), None);
                    for place in 0..length {
                        let mut haystack = vec![other; length];
                        haystack[place] = wanted;
                        assert_eq!(skip_through(wanted, &haystack), Some(place + 1));
                        haystack[place..].fill(wanted);
                        assert_eq!(skip_through(wanted, &haystack), Some(place + 1));
                    }
                }
            }
        }
    }
}
