//! Base32 (RFC 4648) without padding: written in lower case, read in any.
//!
//! Five bytes become eight characters in one register, and back, without a table and without a branch on any of them: a token is
//! some eighty characters. `data-encoding`, which the tests hold it against, writes upper case only.

/// Bytes of a group, and its characters.
const BYTES: usize = 5;
const SYMBOLS: usize = 8;
/// One in each byte; what is multiplied with it is in each.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The high bit of each.
const HIGH: u64 = EACH * 0x80;
/// Added to a digit's value, it makes the digit.
const DIGIT: u8 = b'2' - 26;

/// Characters of so many bytes.
pub(super) const fn encoded_len(bytes: usize) -> usize {
    (bytes * SYMBOLS).div_ceil(BYTES)
}

/// Bytes of so many characters. `None`: no bytes have so many.
pub(super) fn decoded_len(symbols: usize) -> Option<usize> {
    let bytes = symbols / SYMBOLS * BYTES + symbols % SYMBOLS * BYTES / SYMBOLS;
    (encoded_len(bytes) == symbols).then_some(bytes)
}

/// Appends the characters of `bytes`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + encoded_len(bytes.len()), 0);
    let mut rest = bytes;
    for symbols in out.get_mut(start..).unwrap_or_default().chunks_mut(SYMBOLS) {
        // Eight bytes are read where there are as many, and five of them used.
        let mut word = [0; 8];
        match rest.first_chunk() {
            Some(whole) => word = *whole,
            None => word.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte),
        }
        let spelled = spell(u64::from_be_bytes(word) >> 24);
        match symbols.first_chunk_mut() {
            Some(symbols) => *symbols = spelled,
            None => symbols.iter_mut().zip(spelled).for_each(|(slot, symbol)| *slot = symbol),
        }
        rest = rest.get(BYTES..).unwrap_or_default();
    }
}

/// Fills `out`, which is as long as [`decoded_len`] says. `false`: a character that is no symbol, or bits beyond the last byte
/// that are not zero, so that no two texts of one case read alike; what is in `out` then has no meaning.
#[must_use]
pub(super) fn decode(symbols: &[u8], out: &mut [u8]) -> bool {
    let (groups, rest) = symbols.as_chunks();
    let (room, last) = out.as_chunks_mut();
    let mut wrong = 0;
    for (group, bytes) in groups.iter().zip(room) {
        *bytes = read(*group, &mut wrong);
    }
    let mut group = [b'a'; SYMBOLS];
    group.iter_mut().zip(rest).for_each(|(slot, symbol)| *slot = *symbol);
    let tail = read(group, &mut wrong);
    last.iter_mut().zip(tail).for_each(|(slot, byte)| *slot = byte);
    wrong == 0 && tail.iter().skip(last.len()).all(|byte| *byte == 0)
}

/// Of forty bits.
fn spell(bits: u64) -> [u8; SYMBOLS] {
    // Spread to eight bytes of five: by halves, quarters, eighths.
    let bits = (bits << 12 & 0x000f_ffff_0000_0000) | (bits & 0x000f_ffff);
    let bits = (bits << 6 & 0x03ff_0000_03ff_0000) | (bits & 0x0000_03ff_0000_03ff);
    let bits = (bits << 3 & 0x1f00_1f00_1f00_1f00) | (bits & 0x001f_001f_001f_001f);
    let digits = (bits + EACH * (0x80 - 26)) >> 7 & EACH;
    (bits + EACH * u64::from(b'a') - digits * u64::from(b'a' - DIGIT)).to_be_bytes()
}

/// Leaves `wrong` as it was, or makes it something else than 0 where a character is no symbol.
fn read(symbols: [u8; SYMBOLS], wrong: &mut u64) -> [u8; BYTES] {
    let symbols = u64::from_be_bytes(symbols);
    // Seven bits each, so that no sum carries into the next; a letter in lower case.
    let folded = (symbols & !HIGH) | ((symbols & (EACH * 0x40)) >> 1);
    let from = |least: u8| folded + EACH * u64::from(0x80 - least);
    let letters = from(b'a') & !from(b'z' + 1) & HIGH;
    let digits = from(b'2') & !from(b'7' + 1) & HIGH;
    *wrong |= (letters | digits) ^ HIGH | symbols & HIGH;
    let base = (letters >> 7) * u64::from(b'a') + (digits >> 7) * u64::from(DIGIT);
    let bits = folded.wrapping_sub(base);
    let bits = (bits & 0x1f00_1f00_1f00_1f00) >> 3 | (bits & 0x001f_001f_001f_001f);
    let bits = (bits & 0x03ff_0000_03ff_0000) >> 6 | (bits & 0x0000_03ff_0000_03ff);
    let bits = (bits & 0x000f_ffff_0000_0000) >> 12 | (bits & 0x000f_ffff);
    let [.., a, b, c, d, e] = bits.to_be_bytes();
    [a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
    use proptest::prelude::*;

    use super::*;

    fn decoded(symbols: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; decoded_len(symbols.len())?];
        decode(symbols, &mut out).then_some(out)
    }

    #[test]
    fn the_vectors_of_rfc_4648_are_met() {
        for (plain, wanted) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            let mut out = b"before ".to_vec();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out.strip_prefix(b"before "), Some(wanted.as_bytes()));
            assert_eq!(decoded(wanted.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn every_byte_in_every_place_of_a_group_reads_as_it_does_elsewhere() {
        for place in 0..16 {
            for byte in 0..=255u8 {
                let mut symbols = *b"mzxw6ytboi7aaaaa";
                symbols[place] = byte;
                assert_eq!(decoded(&symbols), BASE32_NOPAD_NOCASE.decode(&symbols).ok(), "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_another_implementation(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            encode(&plain, &mut out);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), BASE32_NOPAD.encode(&plain).to_lowercase());
            prop_assert_eq!(decoded(&out), Some(plain.clone()));
            prop_assert_eq!(decoded(&out.to_ascii_uppercase()), Some(plain));
        }

        #[test]
        fn it_reads_what_another_implementation_reads(symbols in "[a-zA-Z2-7]{0,40}|[a-zA-Z0-9@.]{0,40}") {
            prop_assert_eq!(decoded(symbols.as_bytes()), BASE32_NOPAD_NOCASE.decode(symbols.as_bytes()).ok());
        }
    }
}
