//! A stretch of the buffer with its quotes, digits and blanks marked, for the tight loops of `items` and `skim`.
//!
//! It answers where a token ends without looking at each byte, and answers nothing where it is in doubt: at the end of the stretch,
//! in a malformed token. Then the byte-wise ways of `scan` take over, and they alone find faults. Start at [`Marks::over`].
//!
//! ```text
//! bytes    ,"name":"Anna \"K\"","n":[-12.5, 7]
//! quotes    ^    ^ ^     ^^ ^^^ ^ ^                   places, in order, backslashes too
//! others   1111111111111111111111111110010100..       no digit: how far a number reaches
//! solid    11111111111111111111111111111111110..      no white space
//! ```

use super::scan::{self, Digits, Token};
use super::simd::{self, BLOCK, SLACK, Sheet};

/// Bytes that are marked at a time: what is written of it stays in the first-level cache beside the bytes.
pub(super) const STRETCH: usize = 1 << 13;
/// Behind the last quote: places beyond any stretch, so that some can be read at once.
const BEHIND: [u16; 4] = [u16::MAX; 4];
/// What is shorter is not worth the marking.
const LEAST: usize = 16;

/// Marks of a stretch. Positions in it count from the stretch's beginning.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Where the stretch lies in the buffer.
    base: usize,
    end: usize,
    quotes: Vec<u16>,
    count: usize,
    /// A quote that was next not long ago.
    next: usize,
    /// Each with a block of zeros behind: nothing is known there.
    others: Vec<[u8; 8]>,
    solid: Vec<[u8; 8]>,
    controls: Vec<[u8; 8]>,
    has_controls: bool,
}

impl Marks {
    /// The buffer has moved or is another.
    pub(super) fn forget(&mut self) {
        (self.base, self.end) = (0, 0);
    }

    /// The marks around `pos`, a place outside of strings. `None` where too little is left.
    #[inline]
    pub(super) fn over<'a>(&'a mut self, buf: &'a [u8], pos: usize) -> Option<View<'a>> {
        if pos < self.base || pos + BLOCK > self.end && (pos >= self.end || self.end < buf.len()) {
            self.mark(buf, pos)?;
        }
        let bytes = buf.get(self.base..self.end.min(buf.len()))?;
        let quotes = self.quotes.get(..self.count + BEHIND.len())?;
        let at = pos - self.base;
        let before = |place: &u16| usize::from(*place) < at;
        // Where the last view ended, mostly.
        let near = quotes.get(self.next..).and_then(|rest| rest.iter().take(8).position(|place| !before(place)));
        let next = match near {
            Some(more) if self.next.checked_sub(1).and_then(|last| quotes.get(last)).is_none_or(before) => {
                self.next + more
            }
            _ => quotes.partition_point(before),
        };
        let controls = if self.has_controls { self.controls.as_flattened() } else { &[] };
        let (others, solid) = (self.others.as_flattened(), self.solid.as_flattened());
        Some(View { bytes, base: self.base, quotes, next, others, solid, controls })
    }

    /// The view has passed these quotes.
    #[inline]
    pub(super) fn passed(&mut self, quotes: usize) {
        self.next = quotes;
    }

    fn mark(&mut self, buf: &[u8], pos: usize) -> Option<()> {
        let end = buf.len().min(pos.saturating_add(STRETCH));
        let bytes = buf.get(pos..end).filter(|bytes| bytes.len() >= LEAST)?;
        let (blocks, tail) = bytes.as_chunks::<BLOCK>();
        let lines = blocks.len() + 1;
        if self.quotes.len() < lines * BLOCK + SLACK {
            self.quotes.resize(lines * BLOCK + SLACK, 0);
        }
        for line in [&mut self.others, &mut self.solid, &mut self.controls] {
            line.resize((lines + 1).max(line.len()), [0; 8]);
            if let Some(behind) = line.get_mut(lines) {
                *behind = [0; 8];
            }
        }
        let mut sheet = Sheet {
            quotes: &mut self.quotes,
            others: &mut self.others,
            solid: &mut self.solid,
            controls: &mut self.controls,
        };
        let found = simd::mark(blocks, &mut sheet);
        (self.count, self.has_controls) = (found.quotes, found.control);
        // Behind the last byte stands what is neither quote nor control.
        let mut last = [[b'x'; BLOCK]];
        if let Some(start) = last.as_flattened_mut().get_mut(..tail.len()) {
            start.copy_from_slice(tail);
        }
        let n = blocks.len();
        let rest = [&mut self.others, &mut self.solid, &mut self.controls];
        let [Some(others), Some(solid), Some(controls)] = rest.map(|line| line.get_mut(n..)) else { return None };
        let quotes = self.quotes.get_mut(self.count..)?;
        let found = simd::mark(&last, &mut Sheet { quotes, others, solid, controls });
        let offset = u16::try_from(n * BLOCK).ok()?;
        for place in self.quotes.iter_mut().skip(self.count).take(found.quotes) {
            *place += offset;
        }
        self.count += found.quotes;
        self.has_controls |= found.control;
        *self.quotes.get_mut(self.count..)?.first_chunk_mut()? = BEHIND;
        (self.base, self.end, self.next) = (pos, end, 0);
        Some(())
    }
}

/// The marks of a stretch, and which quote comes next.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the stretch lies in the buffer.
    pub(super) base: usize,
    quotes: &'a [u16],
    /// The first quote that has not been passed.
    pub(super) next: usize,
    others: &'a [u8],
    solid: &'a [u8],
    /// Empty where no control character is.
    controls: &'a [u8],
}

/// Bits from `at` on, at least 57 of them; zeros behind what is marked.
#[inline(always)]
fn window(bits: &[u8], at: usize) -> Option<u64> {
    let word = bits.get(at / 8..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word) >> (at % 8))
}

/// Places before the first set bit.
#[inline(always)]
fn run(bits: u64) -> Option<usize> {
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

impl View<'_> {
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The four bytes at `at`.
    #[inline(always)]
    pub(super) fn four(&self, at: usize) -> Option<[u8; 4]> {
        // One comparison: a place is below 2 to the 16th.
        let at = usize::from(at as u16);
        self.bytes.get(at..at + 4)?.first_chunk::<4>().copied()
    }

    /// Is any byte of the stretch a control character, such as a line feed?
    #[inline(always)]
    pub(super) fn has_controls(&self) -> bool {
        !self.controls.is_empty()
    }

    /// Where the quote or backslash of this number is.
    #[inline(always)]
    pub(super) fn quote(&self, number: usize) -> Option<usize> {
        self.quotes.get(number).map(|place| usize::from(*place))
    }

    /// Where four quotes or backslashes from this number on are.
    #[inline(always)]
    pub(super) fn four_quotes(&self, number: usize) -> Option<[u16; 4]> {
        self.quotes.get(number..)?.first_chunk().copied()
    }

    /// No control character from `from` to `to`?
    #[inline(always)]
    pub(super) fn is_clear(&self, from: usize, to: usize) -> bool {
        if self.controls.is_empty() {
            return true;
        }
        match (window(self.controls, from), to.wrapping_sub(from)) {
            (Some(bits), len @ 1..=56) => bits << (64 - len) == 0,
            _ => self.has_none(from, to),
        }
    }

    /// The first byte at or behind `at` that is no white space.
    #[inline(always)]
    pub(super) fn blank(&self, at: usize) -> Option<usize> {
        if *self.bytes.get(at)? > b' ' {
            return Some(at);
        }
        match run(window(self.solid, at)?) {
            Some(white) => Some(at + white),
            None => self.long_blank(at),
        }
    }

    #[inline(never)]
    fn long_blank(&self, mut at: usize) -> Option<usize> {
        loop {
            match run(window(self.solid, at)?) {
                Some(white) => return Some(at + white),
                None => at += 56,
            }
        }
    }

    /// The closing quote of the string whose opening quote is at `at`, if there is no escape in it.
    #[inline(always)]
    pub(super) fn plain_string(&mut self, at: usize) -> Option<usize> {
        let close = usize::from(*self.quotes.get(self.next + 1)?);
        if *self.bytes.get(close)? != b'"' || !self.is_clear(at, close) {
            return None;
        }
        self.next += 2;
        Some(close)
    }

    /// Behind a name and its colon: where the value begins. `at` is the name's opening quote.
    #[inline(always)]
    pub(super) fn member(&mut self, at: usize) -> Option<usize> {
        if self.byte(at)? != b'"' {
            return None;
        }
        let close = self.string(at, true)?;
        if self.byte(close + 1)? == b':' {
            return Some(close + 2);
        }
        let colon = self.blank(close + 1)?;
        (self.byte(colon)? == b':').then_some(colon + 1)
    }

    /// The closing quote of the string whose opening quote is at `at`.
    #[inline(always)]
    pub(super) fn string(&mut self, at: usize, name: bool) -> Option<usize> {
        match self.plain_string(at) {
            None => self.escaped_string(at, name),
            close => close,
        }
    }

    /// As [`View::string`], where there are escapes.
    #[inline(never)]
    pub(super) fn escaped_string(&mut self, open: usize, name: bool) -> Option<usize> {
        let mut next = self.next + 1;
        loop {
            let at = usize::from(*self.quotes.get(next)?);
            if *self.bytes.get(at)? == b'"' {
                if !self.is_clear(open, at) {
                    return None;
                }
                self.next = next + 1;
                return Some(at);
            }
            let Ok(Token::Done(behind)) = scan::escape(self.bytes, at, name) else { return None };
            next += 1;
            while self.quotes.get(next).is_some_and(|place| usize::from(*place) < behind) {
                next += 1;
            }
        }
    }

    #[inline(never)]
    fn has_none(&self, from: usize, to: usize) -> bool {
        let mut at = from;
        while at < to {
            let Some(bits) = window(self.controls, at) else { return false };
            let wanted = (to - at).min(56);
            if bits << (64 - wanted) != 0 {
                return false;
            }
            at += wanted;
        }
        true
    }

    /// The first byte behind the number that begins at `at`, if that is in the stretch.
    #[inline(always)]
    pub(super) fn number(&self, at: usize) -> Option<usize> {
        match self.byte(at).and_then(|first| self.plain_number(at, first)) {
            None => self.other_number(at),
            end => end,
        }
    }

    /// As [`View::number`], without exponent. `first` is its first byte.
    #[inline(always)]
    pub(super) fn plain_number(&self, at: usize, first: u8) -> Option<usize> {
        let from = at + usize::from(first == b'-');
        let bits = window(self.others, from)?;
        let digits = run(bits)?;
        if digits == 0 || digits > 1 && self.byte(from)? == b'0' {
            return None;
        }
        let mut end = from + digits;
        let mut byte = self.byte(end)?;
        if byte == b'.' {
            let digits = run(bits >> digits >> 1)?;
            end += digits + 1;
            byte = self.byte(end)?;
            if digits == 0 {
                return None;
            }
        }
        (byte | 0x20 != b'e').then_some(end)
    }

    #[inline(never)]
    fn other_number(&self, at: usize) -> Option<usize> {
        match scan::number(self.bytes, at, &mut Digits::Start) {
            Ok(Token::Done(end)) => Some(end),
            _ => None,
        }
    }

    /// The first byte behind the literal that begins at `at`.
    #[inline(always)]
    pub(super) fn literal(&self, at: usize, first: u8) -> Option<usize> {
        let word = u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk::<4>()?);
        match first {
            b't' => (word == u32::from_le_bytes(*b"true")).then_some(at + 4),
            b'n' => (word == u32::from_le_bytes(*b"null")).then_some(at + 4),
            _ => (word == u32::from_le_bytes(*b"fals") && self.byte(at + 4)? == b'e').then_some(at + 5),
        }
    }
}
