//! CRC-16/XMODEM: polynomial 0x1021, from 0, most significant bit first. It finds damage without keys; it protects nothing.
//!
//! Eight bytes at a time, each by a table of its own: the two that wait for the state before are then all that is in turn.

const STRIDE: usize = 8;

/// `TABLES[k]` of a byte: what it makes of a state of zero when `k` zeros follow it.
const TABLES: [[u16; 256]; STRIDE] = {
    let (mut tables, mut byte) = ([[0u16; 256]; STRIDE], 0);
    while byte < 256 {
        let (mut crc, mut k) = ((byte as u16) << 8, 0);
        while k < STRIDE {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
                bit += 1;
            }
            #[expect(clippy::indexing_slicing, reason = "computed when compiled; both are under their lengths")]
            {
                tables[k][byte] = crc;
            }
            k += 1;
        }
        byte += 1;
    }
    tables
};

/// A state, fed with bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Check(u16);

impl Check {
    /// After these bytes too.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        let (runs, rest) = bytes.as_chunks::<STRIDE>();
        let [first, second, third, fourth, fifth, sixth, seventh, eighth] = &TABLES;
        let of = |table: &[u16; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or_default();
        let crc = runs.iter().fold(self.0, |crc, [a, b, c, d, e, f, g, h]| {
            let [high, low] = crc.to_be_bytes();
            let ahead = of(sixth, *c) ^ of(fifth, *d) ^ of(fourth, *e) ^ of(third, *f) ^ of(second, *g) ^ of(first, *h);
            ahead ^ of(eighth, high ^ a) ^ of(seventh, low ^ b)
        });
        Self(rest.iter().fold(crc, |crc, byte| (crc << 8) ^ of(first, (crc >> 8) as u8 ^ byte)))
    }

    /// As it is written.
    pub(super) fn bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc_16_xmodem() {
        assert_eq!(Check::default().with(b"123456789").bytes(), [0x31, 0xc3]);
        assert_eq!(Check::default().with(b"").bytes(), [0, 0]);
    }

    #[test]
    fn it_does_not_matter_how_bytes_are_cut() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(151)).collect();
        let mut bitwise = 0u16;
        for (at, byte) in bytes.iter().enumerate() {
            for cut in 0..=at {
                let (head, tail) = bytes[..at].split_at(cut);
                assert_eq!(Check::default().with(head).with(tail), Check(bitwise), "{at} {cut}");
            }
            bitwise ^= u16::from(*byte) << 8;
            for _ in 0..8 {
                bitwise = if bitwise & 0x8000 == 0 { bitwise << 1 } else { (bitwise << 1) ^ 0x1021 };
            }
        }
    }
}
