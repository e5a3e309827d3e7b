//! The plain way: eight bytes in a word.

use super::{BLOCK, Found, Sheet, spread};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = ONES << 7;

/// Bit 7 of each byte below `limit`, which is at most 0x80. Exact: nothing is borrowed from the next byte.
#[inline(always)]
fn below(word: u64, limit: u8) -> u64 {
    let low = word & !HIGH;
    !(low + ONES * u64::from(0x80 - limit)) & !word & HIGH
}

/// Bit 7 of each byte that is `byte`.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// Bit 7 of each byte from `first` on, `count` of them. Both below 0x80.
#[inline(always)]
fn within(word: u64, first: u8, count: u8) -> u64 {
    below(word, first + count) & !below(word, first)
}

/// The eight bits 7, together.
#[inline(always)]
fn gather(high: u64) -> u64 {
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// A bit for each byte of a block.
#[inline(always)]
fn bits(block: &[u8; BLOCK], test: impl Fn(u64) -> u64) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| bits << 8 | gather(test(u64::from_le_bytes(*word))))
}

pub(super) fn mark(blocks: &[[u8; BLOCK]], sheet: &mut Sheet<'_>) -> Found {
    let (mut count, mut any) = (0, 0);
    let lines = sheet.others.iter_mut().zip(sheet.solid.iter_mut()).zip(sheet.controls.iter_mut());
    for ((n, block), ((others, solid), controls)) in blocks.iter().enumerate().zip(lines) {
        let quotes = bits(block, |word| equal(word, b'"') | equal(word, b'\\'));
        let white = |word| equal(word, b' ') | equal(word, b'\n') | equal(word, b'\t') | equal(word, b'\r');
        let control = bits(block, |word| below(word, 0x20));
        *others = (!bits(block, |word| within(word, b'0', 10))).to_le_bytes();
        *solid = (!bits(block, white)).to_le_bytes();
        *controls = control.to_le_bytes();
        count = spread(quotes, n * BLOCK, sheet.quotes, count);
        any |= control;
    }
    Found { quotes: count, control: any != 0 }
}

pub(super) fn plain(blocks: &[[u8; BLOCK]]) -> usize {
    let special = |word| equal(word, b'"') | equal(word, b'\\') | below(word, 0x20);
    for (n, block) in blocks.iter().enumerate() {
        let found = bits(block, special);
        if found != 0 {
            return n * BLOCK + found.trailing_zeros() as usize;
        }
    }
    blocks.len() * BLOCK
}
