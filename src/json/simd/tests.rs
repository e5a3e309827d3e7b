//! All ways agree, on every byte, at every offset.

use proptest::prelude::*;

use super::*;

/// Miri, which looks for what is undefined, and slowly, takes a sample of bytes and offsets.
const STEP: usize = if cfg!(miri) { 17 } else { 1 };

/// Room for a sheet.
struct Room {
    quotes: Vec<u16>,
    lines: [Vec<[u8; 8]>; 3],
}

type Way = fn(&[[u8; BLOCK]], &mut Sheet<'_>) -> Found;

/// The places of quotes and backslashes; the bits of others, solid, controls; is there a control character.
type Said = (Vec<u16>, [Vec<[u8; 8]>; 3], bool);

fn said(way: Way, blocks: &[[u8; BLOCK]]) -> Said {
    let mut room =
        Room { quotes: vec![7; blocks.len() * BLOCK + SLACK], lines: [(); 3].map(|()| vec![[7; 8]; blocks.len()]) };
    let [others, solid, controls] = &mut room.lines;
    let found = way(blocks, &mut Sheet { quotes: &mut room.quotes, others, solid, controls });
    room.quotes.truncate(found.quotes);
    (room.quotes, room.lines, found.control)
}

/// Byte by byte.
fn wanted(blocks: &[[u8; BLOCK]]) -> Said {
    let bytes = blocks.as_flattened();
    let quotes = (0..).zip(bytes).filter(|(_, byte)| matches!(byte, b'"' | b'\\')).map(|(place, _)| place).collect();
    let line = |test: fn(&u8) -> bool| {
        let bits = |block: &[u8; BLOCK]| (0..64).fold(0u64, |bits, n| bits | u64::from(test(&block[n])) << n);
        blocks.iter().map(|block| bits(block).to_le_bytes()).collect()
    };
    let others = line(|byte| !byte.is_ascii_digit());
    let solid = line(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    let controls = line(|byte| *byte < 0x20);
    (quotes, [others, solid, controls], bytes.iter().any(|byte| *byte < 0x20))
}

fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = vec![mark, words::mark];
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            // SAFETY: asked for in the line above.
            ways.push(|blocks, sheet| unsafe { x86::mark_avx2(blocks, sheet) });
        }
        if x86::has_avx512() {
            // SAFETY: asked for in the line above.
            ways.push(|blocks, sheet| unsafe { x86::mark_avx512(blocks, sheet) });
        }
    }
    ways
}

fn check(bytes: &[u8]) {
    let blocks = bytes.as_chunks::<BLOCK>().0;
    for (n, way) in ways().into_iter().enumerate() {
        assert_eq!(said(way, blocks), wanted(blocks), "way {n}");
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    for at in (0..=bytes.len().min(BLOCK)).step_by(STEP) {
        let whole = bytes[at..].as_chunks::<BLOCK>().0.as_flattened();
        let end = whole.iter().position(ends).unwrap_or(whole.len());
        assert_eq!(plain(bytes, at), at + end);
        assert_eq!(words::plain(bytes[at..].as_chunks::<BLOCK>().0), end);
    }
}

#[test]
fn every_byte_is_marked_alike_at_every_offset() {
    for byte in (0..=u8::MAX).step_by(STEP) {
        for at in (0..2 * BLOCK).step_by(STEP) {
            let mut bytes = [b'x'; 2 * BLOCK];
            bytes[at] = byte;
            check(&bytes);
        }
        check(&[byte; 2 * BLOCK]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_ways_agree_on_random_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..6 * BLOCK),
        dense in prop::collection::vec(prop::sample::select(&b"\"\\ \n\t\r0123456789{}[]:,a\x01\xc3"[..]), 0..6 * BLOCK),
    ) {
        check(&bytes);
        check(&dense);
    }
}
