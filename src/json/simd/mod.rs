//! Sixty-four bytes at a time: where the quotes, digits, blanks and control characters of a stretch are.
//!
//! It classifies bytes, nothing more: no grammar, no state from one block to the next, so that it cannot be wrong about JSON.
//! Three ways give the same answer (a property test holds them together): AVX-512, AVX2, and plain words for every other machine.
//! `unsafe` is here and nowhere else in the program: vector loads and stores through references whose size is in their type, and the
//! calls behind a check of what the processor has. Start at [`mark`] and [`plain`].

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "vector loads, stores and dispatch; each states its proof")
)]

mod words;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// Places that a block may write at once, whether it has them or not.
pub(super) const SLACK: usize = 64;

/// What is said of a stretch of whole blocks.
pub(super) struct Sheet<'a> {
    /// The places of quotes and backslashes, in order. Has room for one a byte, and [`SLACK`] more.
    pub(super) quotes: &'a mut [u16],
    /// For each block: bit n is set if byte n is no digit.
    pub(super) others: &'a mut [[u8; 8]],
    /// For each block: bit n is set if byte n is not white space (space, tab, line feed, carriage return).
    pub(super) solid: &'a mut [[u8; 8]],
    /// For each block: bit n is set if byte n is below 0x20.
    pub(super) controls: &'a mut [[u8; 8]],
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Quotes and backslashes.
    pub(super) quotes: usize,
    /// Is any byte below 0x20?
    pub(super) control: bool,
}

/// Marks whole blocks, at most 1,024 of them.
pub(super) fn mark(blocks: &[[u8; BLOCK]], sheet: &mut Sheet<'_>) -> Found {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx512() {
            // SAFETY: the processor has what `mark_avx512` is compiled for.
            return unsafe { x86::mark_avx512(blocks, sheet) };
        }
        if x86::has_avx2() {
            // SAFETY: the processor has what `mark_avx2` is compiled for.
            return unsafe { x86::mark_avx2(blocks, sheet) };
        }
    }
    words::mark(blocks, sheet)
}

/// The first byte at or behind `at` that ends a plain run of a string (a quote, a backslash, a control character), or the end of
/// the last whole block behind `at`, if the run goes on there.
pub(super) fn plain(bytes: &[u8], at: usize) -> usize {
    let Some(rest) = bytes.get(at..) else { return at };
    let (blocks, _) = rest.as_chunks::<BLOCK>();
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        // SAFETY: the processor has what `plain_avx2` is compiled for.
        return at + unsafe { x86::plain_avx2(blocks) };
    }
    at + words::plain(blocks)
}

/// Writes the places of a block's set bits behind `count`, and gives the new count.
#[inline(always)]
fn spread(mut bits: u64, base: usize, quotes: &mut [u16], count: usize) -> usize {
    let total = bits.count_ones() as usize;
    let mut done = 0;
    // Four at a time, also beyond the last: what is written too much is written over, or never read.
    while done < total {
        if let Some(four) = quotes.get_mut(count + done..).and_then(|rest| rest.first_chunk_mut::<4>()) {
            for place in four {
                *place = (base + bits.trailing_zeros() as usize) as u16;
                bits &= bits.wrapping_sub(1);
            }
        }
        done += 4;
    }
    count + total
}

#[cfg(test)]
mod tests;
