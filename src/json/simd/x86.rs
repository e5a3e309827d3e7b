//! The ways of x86-64. Value intrinsics are safe where their feature is on; only loads, stores and calls need a proof.

use std::arch::x86_64::*;

use super::{BLOCK, Found, Sheet, spread};

/// Asked of the processor once a process, then remembered by the standard library.
#[inline]
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("popcnt")
}

/// As [`has_avx2`].
#[inline]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi2") && has_avx2()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_512(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: an unaligned load of 64 bytes, all of them inside the referenced array.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_512(places: &mut [u16; 32], value: __m512i) {
    // SAFETY: an unaligned store of 64 bytes, all of them inside the referenced array, which is borrowed exclusively.
    unsafe { _mm512_storeu_si512(places.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_256(half: &[u8; 32]) -> __m256i {
    // SAFETY: an unaligned load of 32 bytes, all of them inside the referenced array.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

/// Where a byte is its own low half's white space, in each 16 bytes (`pshufb` looks up by the low four bits).
const WHITE: [u8; 16] = [b' ', 100, 100, 100, 17, 100, 113, 2, 100, b'\t', b'\n', 112, 100, b'\r', 100, 100];
/// The places of a block.
#[expect(clippy::indexing_slicing, reason = "a constant that goes beyond its end does not compile")]
const PLACES: [u8; BLOCK] = {
    let mut places = [0; BLOCK];
    let mut n = 0;
    while n < BLOCK {
        places[n] = n as u8;
        n += 1;
    }
    places
};

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
pub(super) fn mark_avx512(blocks: &[[u8; BLOCK]], sheet: &mut Sheet<'_>) -> Found {
    let places = load_512(&PLACES);
    let white = _mm512_broadcast_i32x4(_mm_set_epi64x(
        i64::from_le_bytes(*WHITE.last_chunk::<8>().unwrap_or(&[0; 8])),
        i64::from_le_bytes(*WHITE.first_chunk::<8>().unwrap_or(&[0; 8])),
    ));
    let (mut count, mut any) = (0, 0);
    let lines = sheet.others.iter_mut().zip(sheet.solid.iter_mut()).zip(sheet.controls.iter_mut());
    for ((n, block), ((others, solid), controls)) in blocks.iter().enumerate().zip(lines) {
        let bytes = load_512(block);
        let quotes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'"' as i8))
            | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'\\' as i8));
        let control = _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20));
        let digit = _mm512_sub_epi8(bytes, _mm512_set1_epi8(b'0' as i8));
        *others = _mm512_cmpge_epu8_mask(digit, _mm512_set1_epi8(10)).to_le_bytes();
        *solid = _mm512_cmpneq_epi8_mask(bytes, _mm512_shuffle_epi8(white, bytes)).to_le_bytes();
        *controls = control.to_le_bytes();
        any |= control;
        // The places of the quotes, side by side, widened, 32 at a time; what is behind the last is written over or never read.
        let packed = _mm512_maskz_compress_epi8(quotes, places);
        let base = _mm512_set1_epi16((n * BLOCK) as i16);
        let total = quotes.count_ones() as usize;
        let room = sheet.quotes.get_mut(count..).unwrap_or_default();
        if let Some((low, rest)) = room.split_first_chunk_mut::<32>() {
            store_512(low, _mm512_add_epi16(base, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(packed))));
            if total > 32
                && let Some(high) = rest.first_chunk_mut::<32>()
            {
                store_512(high, _mm512_add_epi16(base, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(packed, 1))));
            }
        }
        count += total;
    }
    Found { quotes: count, control: any != 0 }
}

/// A bit for each byte of a block that a comparison has set.
#[inline]
#[target_feature(enable = "avx2")]
fn bits(low: __m256i, high: __m256i) -> u64 {
    u64::from(_mm256_movemask_epi8(low) as u32) | u64::from(_mm256_movemask_epi8(high) as u32) << 32
}

/// Bytes that are at most `limit`, without sign.
#[inline]
#[target_feature(enable = "avx2")]
fn at_most(bytes: __m256i, limit: i8) -> __m256i {
    _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(limit)), bytes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn is(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8))
}

/// The two halves of a block. (No closures over vectors in this file: a closure that is handed on is compiled without the feature.)
#[inline]
#[target_feature(enable = "avx2")]
fn halves(block: &[u8; BLOCK]) -> (__m256i, __m256i) {
    match block.as_chunks::<32>() {
        ([low, high], _) => (load_256(low), load_256(high)),
        _ => (_mm256_setzero_si256(), _mm256_setzero_si256()),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn quote(half: __m256i) -> __m256i {
    _mm256_or_si256(is(half, b'"'), is(half, b'\\'))
}

#[inline]
#[target_feature(enable = "avx2")]
fn digit(half: __m256i) -> __m256i {
    at_most(_mm256_sub_epi8(half, _mm256_set1_epi8(b'0' as i8)), 9)
}

#[target_feature(enable = "avx2,bmi1,popcnt")]
pub(super) fn mark_avx2(blocks: &[[u8; BLOCK]], sheet: &mut Sheet<'_>) -> Found {
    let table = _mm256_broadcastsi128_si256(_mm_set_epi64x(
        i64::from_le_bytes(*WHITE.last_chunk::<8>().unwrap_or(&[0; 8])),
        i64::from_le_bytes(*WHITE.first_chunk::<8>().unwrap_or(&[0; 8])),
    ));
    let (mut count, mut any) = (0, 0);
    let lines = sheet.others.iter_mut().zip(sheet.solid.iter_mut()).zip(sheet.controls.iter_mut());
    for ((n, block), ((others, solid), controls)) in blocks.iter().enumerate().zip(lines) {
        let (low, high) = halves(block);
        let white_low = _mm256_cmpeq_epi8(low, _mm256_shuffle_epi8(table, low));
        let white_high = _mm256_cmpeq_epi8(high, _mm256_shuffle_epi8(table, high));
        let control = bits(at_most(low, 0x1f), at_most(high, 0x1f));
        *others = (!bits(digit(low), digit(high))).to_le_bytes();
        *solid = (!bits(white_low, white_high)).to_le_bytes();
        *controls = control.to_le_bytes();
        count = spread(bits(quote(low), quote(high)), n * BLOCK, sheet.quotes, count);
        any |= control;
    }
    Found { quotes: count, control: any != 0 }
}

#[target_feature(enable = "avx2,bmi1")]
pub(super) fn plain_avx2(blocks: &[[u8; BLOCK]]) -> usize {
    for (n, block) in blocks.iter().enumerate() {
        let (low, high) = halves(block);
        let low = _mm256_or_si256(quote(low), at_most(low, 0x1f));
        let high = _mm256_or_si256(quote(high), at_most(high, 0x1f));
        if _mm256_testz_si256(_mm256_or_si256(low, high), _mm256_or_si256(low, high)) == 0 {
            return n * BLOCK + bits(low, high).trailing_zeros() as usize;
        }
    }
    blocks.len() * BLOCK
}
