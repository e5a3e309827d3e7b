//! The member names that a program's paths mention, each with a number.
//!
//! No paths and no states. A name of the document is looked up once, unescaped; what is not mentioned is [`OTHER`]. Start at
//! [`Names::find`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::text;

/// A mentioned name's number; 0 for all others.
pub(super) type Symbol = u32;

/// Every name that no path mentions.
pub(super) const OTHER: Symbol = 0;

/// What a symbol answers to.
#[derive(Debug)]
pub(super) struct Mention {
    /// As the policy spells it.
    pub(super) text: Arc<str>,
    /// Number of the exact name; 0 where the symbol stands for a fold only.
    pub(super) exact: u32,
    /// Number of the folded name; 0 where no folded path mentions it.
    pub(super) fold: u32,
}

impl Mention {
    /// The text that a spelling, folded, has to be.
    pub(super) fn folded(&self) -> Cow<'_, str> {
        text::fold(&self.text)
    }

    /// The first bytes and [`grain`]s of what it answers to: of a folded name, those of its [plain](is_plain) spellings, which are
    /// those in upper and lower case. (One that is not ASCII has no plain spelling; what stands for it does no harm.)
    pub(super) fn grains(&self) -> impl Iterator<Item = (u8, u32)> + use<> {
        let ends = |name: &[u8]| match (name.first(), name.last()) {
            (Some(first), Some(last)) => (name.len(), *first, *last),
            _ => (0, b'"', b'"'),
        };
        let exact = (self.exact != 0).then(|| ends(self.text.as_bytes()));
        let folded = (self.fold != 0).then(|| ends(self.folded().as_bytes()));
        let cases = |byte: u8| [byte, byte.to_ascii_uppercase()];
        let folded = folded.into_iter().flat_map(move |(len, first, last)| {
            cases(first).into_iter().flat_map(move |first| cases(last).map(|last| (len, first, last)))
        });
        exact.into_iter().chain(folded).map(|(len, first, last)| (first, grain(len, (first, last))))
    }
}

#[derive(Debug)]
pub(super) struct Names {
    mentions: Vec<Mention>,
    exact: Table,
    folds: Table,
    folded: bool,
    /// No name is compared as it is: then what a spelling answers to hangs on its folded form alone.
    only_folds: bool,
    sieve: Sieve,
    /// The symbols that answer to each folded name, by its number.
    by_fold: Vec<Vec<Symbol>>,
}

/// Collects names before the table is made.
#[derive(Debug, Default)]
pub(super) struct Collector {
    exact: HashMap<Arc<str>, u32>,
    folds: HashMap<String, (u32, Arc<str>)>,
}

impl Collector {
    /// The number of a name that is compared as it is. From 1.
    pub(super) fn exact(&mut self, name: &Arc<str>) -> u32 {
        let next = number(self.exact.len());
        *self.exact.entry(Arc::clone(name)).or_insert(next)
    }

    /// The number of a name that is compared folded. From 1.
    pub(super) fn folded(&mut self, name: &Arc<str>) -> u32 {
        let next = number(self.folds.len());
        self.folds.entry(text::fold(name).into_owned()).or_insert_with(|| (next, Arc::clone(name))).0
    }

    pub(super) fn finish(self) -> Names {
        let mut mentions = vec![Mention { text: Arc::from(""), exact: 0, fold: 0 }];
        let mut exact: Vec<_> = self.exact.into_iter().collect();
        exact.sort_by_key(|(_, id)| *id);
        let mut folds: Vec<_> = self.folds.into_iter().collect();
        folds.sort_by_key(|(_, (id, _))| *id);
        let by_fold: HashMap<&str, u32> = folds.iter().map(|(text, (id, _))| (text.as_str(), *id)).collect();
        for (name, id) in &exact {
            let fold = if by_fold.is_empty() { 0 } else { *by_fold.get(&*text::fold(name)).unwrap_or(&0) };
            mentions.push(Mention { text: Arc::clone(name), exact: *id, fold });
        }
        let exact_table = Table::new(exact.iter().map(|(name, id)| (name.as_bytes(), *id)));
        let first = number(exact.len());
        for (_, (id, written)) in &folds {
            mentions.push(Mention { text: Arc::clone(written), exact: 0, fold: *id });
        }
        let fold_table = Table::new(folds.iter().map(|(text, (id, _))| (text.as_bytes(), first + *id - 1)));
        let mut by_fold = vec![Vec::new(); folds.len() + 1];
        for (symbol, mention) in (0..).zip(&mentions).skip(1) {
            if let Some(symbols) = by_fold.get_mut(mention.fold as usize) {
                symbols.push(symbol);
            }
        }
        let sieve = Sieve::of(mentions.iter().skip(1));
        let only_folds = exact.is_empty() && !folds.is_empty();
        Names { mentions, exact: exact_table, folded: !folds.is_empty(), only_folds, sieve, folds: fold_table, by_fold }
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX - 1) + 1
}

impl Names {
    /// The symbol of an unescaped name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Symbol {
        match self.exact.find(name) {
            OTHER if !self.folded => OTHER,
            OTHER => self.find_fold(name),
            symbol => symbol,
        }
    }

    fn find_fold(&self, name: &[u8]) -> Symbol {
        if !self.may_mention::<true>(name, 0, name.len(), name.first().copied().unwrap_or(b'"'), grain_of(name)) {
            return OTHER;
        }
        match std::str::from_utf8(name) {
            Ok(name) => self.folds.find(text::fold(name).as_bytes()),
            Err(_) => OTHER,
        }
    }

    /// What a symbol answers to; `None` for [`OTHER`].
    pub(super) fn mention(&self, symbol: Symbol) -> Option<&Mention> {
        self.mentions.get(symbol as usize).filter(|_| symbol != OTHER)
    }

    /// The symbols that answer to a name's number.
    pub(super) fn symbols_of(&self, number: u32, folded: bool) -> impl Iterator<Item = Symbol> {
        let folds = self.by_fold.get(number as usize).filter(|_| folded).map(Vec::as_slice).unwrap_or_default();
        // Exact names are numbered as their symbols are.
        folds.iter().copied().chain((!folded).then_some(number))
    }

    /// Is any name compared folded?
    #[inline(always)]
    pub(super) fn folds(&self) -> bool {
        self.folded
    }

    /// Are all names compared folded?
    pub(super) fn only_folds(&self) -> bool {
        self.only_folds
    }

    /// May the name of `len` bytes at `at`, which begins with `initial` and has this [`grain`], be mentioned?
    /// `FOLDS`: it is not known that no name is folded.
    #[inline(always)]
    pub(super) fn may_mention<const FOLDS: bool>(
        &self,
        bytes: &[u8],
        at: usize,
        len: usize,
        initial: u8,
        grain: u32,
    ) -> bool {
        self.sieve.lets(initial, grain) || FOLDS && self.folded && !is_plain(bytes, at, len)
    }

    pub(super) fn len(&self) -> usize {
        self.mentions.len()
    }
}

/// Lets the names through that may be among some. By six bits of their first byte: bit n is set if one of them has n as its [`grain`].
#[derive(Debug)]
pub(super) struct Sieve([u64; 64]);

impl Sieve {
    /// Of what these names answer to: of a folded one, its [plain](is_plain) spellings.
    pub(super) fn of<'n>(mentions: impl Iterator<Item = &'n Mention>) -> Self {
        let mut sieve = [0; 64];
        for (initial, grain) in mentions.flat_map(Mention::grains) {
            if let Some(row) = sieve.get_mut(usize::from(initial & 63)) {
                *row |= 1 << grain;
            }
        }
        Self(sieve)
    }

    /// That lets all through.
    pub(super) fn open() -> Self {
        Self([u64::MAX; 64])
    }

    /// Does it let a name through? `initial` is the byte behind its opening quote.
    #[inline(always)]
    pub(super) fn lets(&self, initial: u8, grain: u32) -> bool {
        self.0.get(usize::from(initial & 63)).is_some_and(|row| row >> (grain & 63) & 1 == 1)
    }
}

/// Six bits of a name's length and its first and last byte, which of an empty name are its quotes.
#[inline(always)]
pub(super) fn grain(len: usize, (first, last): (u8, u8)) -> u32 {
    (len as u32).wrapping_mul(7).wrapping_add(u32::from(first)).wrapping_add(u32::from(last) << 2) & 63
}

#[inline(always)]
pub(super) fn grain_of(name: &[u8]) -> u32 {
    let [Some(first), Some(last)] = [name.first(), name.last()] else { return grain(0, (b'"', b'"')) };
    grain(name.len(), (*first, *last))
}

/// Is the name of `len` bytes at `at` printable ASCII without a blank at either end? Folding it is no more than lower case then.
#[inline(always)]
pub(super) fn is_plain(bytes: &[u8], at: usize, len: usize) -> bool {
    let Some(name) = bytes.get(at..at + len) else { return false };
    name.first() != Some(&b' ') && name.last() != Some(&b' ') && is_printable(bytes, at, len)
}

/// Is it printable ASCII?
#[inline(always)]
pub(super) fn is_printable(bytes: &[u8], at: usize, len: usize) -> bool {
    match Key::at(bytes, at, len) {
        Some(key) if len <= Key::WHOLE => key.is_printable(),
        _ => bytes.get(at..at + len).is_some_and(|name| name.iter().all(|byte| matches!(byte, b' '..=b'~'))),
    }
}

/// Names to symbols, by open addressing at most half full. The names come from the policy, so nobody can crowd it.
#[derive(Debug)]
struct Table {
    slots: Box<[Slot]>,
    /// The names in full that a [`Key`] does not tell apart.
    long: HashMap<Symbol, Box<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Key,
    /// [`OTHER`]: free.
    symbol: Symbol,
}

impl Table {
    fn new<'a>(names: impl Iterator<Item = (&'a [u8], Symbol)>) -> Self {
        let names: Vec<_> = names.collect();
        let free = Slot { key: Key::new(b""), symbol: OTHER };
        let mut slots = vec![free; (names.len() * 2).next_power_of_two().max(8)].into_boxed_slice();
        let mask = slots.len() - 1;
        let mut long = HashMap::new();
        for (name, symbol) in names {
            let key = Key::new(name);
            let mut at = key.hash() & mask;
            while slots.get(at).is_some_and(|slot| slot.symbol != OTHER) {
                at = (at + 1) & mask;
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = Slot { key, symbol };
            }
            if key.len > Key::WHOLE {
                long.insert(symbol, name.into());
            }
        }
        Self { slots, long }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Symbol {
        let key = Key::new(name);
        let mask = self.slots.len() - 1;
        let mut at = key.hash() & mask;
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.symbol != OTHER) {
            if slot.key == key
                && (key.len <= Key::WHOLE || self.long.get(&slot.symbol).is_some_and(|long| **long == *name))
            {
                return slot.symbol;
            }
            at = (at + 1) & mask;
        }
        OTHER
    }
}

/// The first and the last eight bytes of a name, and its length: up to 16 bytes that is the whole name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    first: u64,
    last: u64,
    len: usize,
}

impl Key {
    /// A name that is no longer is told by its key alone.
    pub(super) const WHOLE: usize = 16;

    #[inline]
    pub(super) fn new(name: &[u8]) -> Self {
        Self::at(name, 0, name.len()).unwrap_or_else(|| {
            let first = name.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            Self { first, last: 0, len: name.len() }
        })
    }

    /// Of the name of `len` bytes at `at`. `None` at the end of `bytes`, where fewer than eight are left.
    #[inline(always)]
    pub(super) fn at(bytes: &[u8], at: usize, len: usize) -> Option<Self> {
        let eight = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
        let first = eight(at)?;
        Some(match len {
            0..8 => Self { first: first & ((1 << (8 * len)) - 1), last: 0, len },
            _ => Self { first, last: eight(at + len - 8)?, len },
        })
    }

    /// Has it no byte from DEL on and no control character? It may say no where it has none of them only beside one that it has.
    #[inline(always)]
    fn is_printable(self) -> bool {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const BLANKS: u64 = ONES * b' ' as u64;
        let (first, last) = match self.len {
            // Behind a short name there are zeros in the word.
            0..8 => (self.first | BLANKS << (8 * self.len), BLANKS),
            _ => (self.first, self.last),
        };
        let wrong = |word: u64| (word | word.wrapping_add(ONES) | word.wrapping_sub(BLANKS) & !word) & (ONES << 7);
        wrong(first) | wrong(last) == 0
    }

    /// Of the name in lower case. All its bytes are ASCII.
    #[inline(always)]
    pub(super) fn lower(self) -> Self {
        const ONES: u64 = 0x0101_0101_0101_0101;
        let lower = |word: u64| {
            let (from_a, beyond_z) = (word + ONES * (0x80 - b'A' as u64), word + ONES * (0x7f - b'Z' as u64));
            word | (from_a & !beyond_z & (ONES << 7)) >> 2
        };
        Self { first: lower(self.first), last: lower(self.last), len: self.len }
    }

    #[inline]
    fn hash(self) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(29) ^ self.len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize
    }
}
