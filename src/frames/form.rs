//! Pairs of a form: `application/x-www-form-urlencoded`, as the WHATWG URL standard (section 5) has them, read in one way only.
//!
//! Pairs are split at `&`, name and value at the first `=`; `+` is a blank, `%41` a byte; what results is UTF-8. A bad escape, a raw byte
//! that has no place in a URL's query, a raw `;` (some readers split there) and what is not UTF-8 are faults. Empty pairs are none. A
//! name is held until its end, a value comes in pieces. Start at [`Pairs::next`], or at [`encode`] for the other way.
//!
//! ```text
//! a=1%20b&c        Name(a) Value(1 b) End  Name(c) End
//! ```

use super::{Fault, FaultKind};

/// What was found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A name is whole: see [`Pairs::text`] and [`Pairs::raw`] (with its `=`, where it has one).
    Name,
    /// More of the value: see [`Pairs::text`] and [`Pairs::raw`].
    Value,
    /// The pair ends.
    End,
}

/// Cuts a form into pairs. Holds a name, and what of a value is not a whole character yet.
#[derive(Debug)]
pub struct Pairs {
    /// As it came, and decoded: up to `whole` what was found last, behind it what is not a whole character.
    raw: Vec<u8>,
    text: Vec<u8>,
    whole: (usize, usize),
    escape: Escape,
    /// Bytes that the character still wants, and the range of the next one.
    wants: u8,
    range: (u8, u8),
    place: Place,
    name_max: usize,
    offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Half(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a pair.
    Between,
    Name,
    Value,
    /// The name has no value: the pair ends.
    Bare,
}

impl Pairs {
    /// `name_max`: bytes of a name.
    #[must_use]
    pub fn new(name_max: usize) -> Self {
        Self {
            raw: Vec::new(),
            text: Vec::new(),
            whole: (0, 0),
            escape: Escape::None,
            wants: 0,
            range: (0x80, 0xbf),
            place: Place::Between,
            name_max,
            offset: 0,
        }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was found last, decoded.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.get(..self.whole.1).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// What was found last, as it came.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        self.raw.get(..self.whole.0).unwrap_or_default()
    }

    /// Takes the next piece from the front of `input`; `None` when there is no more of it.
    ///
    /// # Errors
    /// [`FaultKind::FormEscape`], [`FaultKind::FormByte`], [`FaultKind::FormUtf8`], [`FaultKind::FormName`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Fault> {
        self.clear();
        if self.place == Place::Bare {
            self.place = Place::Between;
            return Ok(Some(Step::End));
        }
        while let Some(byte) = input.first().copied() {
            match (byte, self.place) {
                (b'&', Place::Between) => self.skip(input),
                (b'&', Place::Name) => {
                    self.is_whole()?;
                    self.skip(input);
                    self.place = Place::Bare;
                    self.tell_all();
                    return Ok(Some(Step::Name));
                }
                (b'&', _) => {
                    self.is_whole()?;
                    if !self.raw.is_empty() {
                        return Ok(Some(self.tell_all()));
                    }
                    self.skip(input);
                    self.place = Place::Between;
                    return Ok(Some(Step::End));
                }
                (b'=', Place::Between | Place::Name) => {
                    self.is_whole()?;
                    self.skip(input);
                    self.raw.push(b'=');
                    self.tell_all();
                    self.place = Place::Value;
                    return Ok(Some(Step::Name));
                }
                _ => {
                    if self.place == Place::Between {
                        self.place = Place::Name;
                    }
                    if self.room() == 0 {
                        return Err(self.fault(FaultKind::FormName));
                    }
                    self.take(input)?;
                }
            }
        }
        // Of a value what is whole so far is given out.
        Ok((self.place == Place::Value && self.whole.0 > 0).then_some(Step::Value))
    }

    /// The body ends here: what is still to be told, or `None`.
    ///
    /// # Errors
    /// As [`Pairs::next`].
    pub fn finish(&mut self) -> Result<Option<Step>, Fault> {
        self.clear();
        self.is_whole()?;
        Ok(match self.place {
            Place::Between => None,
            Place::Name => {
                self.place = Place::Bare;
                self.tell_all();
                Some(Step::Name)
            }
            Place::Value | Place::Bare => {
                self.place = Place::Between;
                Some(Step::End)
            }
        })
    }

    /// Forgets what was told.
    fn clear(&mut self) {
        // A name that is under way is not told yet.
        if self.place != Place::Name {
            self.raw.drain(..self.whole.0);
            self.text.drain(..self.whole.1);
            self.whole = (0, 0);
        }
    }

    /// So many bytes may follow.
    fn room(&self) -> usize {
        if self.place == Place::Name { self.name_max.saturating_sub(self.raw.len()) } else { usize::MAX }
    }

    fn tell_all(&mut self) -> Step {
        self.whole = (self.raw.len(), self.text.len());
        Step::Value
    }

    fn skip(&mut self, input: &mut &[u8]) {
        *input = input.get(1..).unwrap_or_default();
        self.offset += 1;
    }

    /// Takes the bytes up to the next `&`, `=` in a name, or the end.
    fn take(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        let equals = self.place == Place::Value;
        let stops = |byte: &u8| *byte == b'&' || (*byte == b'=' && !equals);
        // A run of bytes that stand for themselves.
        if self.escape == Escape::None && self.wants == 0 {
            let run = input.iter().position(|byte| !is_plain(*byte)).unwrap_or(input.len()).min(self.room());
            let (run, rest) = input.split_at_checked(run).unwrap_or_default();
            self.raw.extend_from_slice(run);
            self.text.extend_from_slice(run);
            self.whole = (self.raw.len(), self.text.len());
            self.offset += run.len() as u64;
            *input = rest;
            // The next byte is one too many, whatever it is.
            if self.room() == 0 {
                return Ok(());
            }
        }
        if let Some(byte) = input.first().copied().filter(|byte| !stops(byte)) {
            self.byte(byte)?;
            self.skip(input);
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        let hex = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        self.raw.push(byte);
        match (self.escape, hex, byte) {
            (Escape::Begun, Some(digit), _) => self.escape = Escape::Half(digit << 4),
            (Escape::Half(high), Some(digit), _) => {
                self.escape = Escape::None;
                return self.decoded(high | digit);
            }
            (Escape::Begun | Escape::Half(_), None, _) => return Err(self.fault(FaultKind::FormEscape)),
            (Escape::None, _, b'%') => self.escape = Escape::Begun,
            (Escape::None, _, b'+') => return self.decoded(b' '),
            (Escape::None, _, byte) if is_plain(byte) || matches!(byte, b'=') => return self.decoded(byte),
            (Escape::None, ..) => return Err(self.fault(FaultKind::FormByte)),
        }
        Ok(())
    }

    /// One byte of the text: is it UTF-8 up to here?
    fn decoded(&mut self, byte: u8) -> Result<(), Fault> {
        let wrong = self.fault(FaultKind::FormUtf8);
        if self.wants == 0 {
            // RFC 3629, section 4.
            (self.wants, self.range) = match byte {
                0x00..=0x7f => (0, (0x80, 0xbf)),
                0xc2..=0xdf => (1, (0x80, 0xbf)),
                0xe0 => (2, (0xa0, 0xbf)),
                0xed => (2, (0x80, 0x9f)),
                0xe1..=0xef => (2, (0x80, 0xbf)),
                0xf0 => (3, (0x90, 0xbf)),
                0xf1..=0xf3 => (3, (0x80, 0xbf)),
                0xf4 => (3, (0x80, 0x8f)),
                _ => return Err(wrong),
            };
        } else if (self.range.0..=self.range.1).contains(&byte) {
            (self.wants, self.range) = (self.wants - 1, (0x80, 0xbf));
        } else {
            return Err(wrong);
        }
        self.text.push(byte);
        if self.wants == 0 {
            self.whole = (self.raw.len(), self.text.len());
        }
        Ok(())
    }

    /// Nothing is left half-way.
    fn is_whole(&self) -> Result<(), Fault> {
        match (self.escape, self.wants) {
            (Escape::None, 0) => Ok(()),
            (Escape::None, _) => Err(self.fault(FaultKind::FormUtf8)),
            _ => Err(self.fault(FaultKind::FormEscape)),
        }
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { kind, offset: self.offset }
    }
}

/// A byte that may stand in a URL's query (RFC 3986, section 3.4) and stands for itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*')
        || matches!(byte, b',' | b':' | b'@' | b'/' | b'?')
}

/// Writes a text as the standard's serializer does.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'-' | b'.' | b'_' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => {
                let digit = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pair = (String, String, String);

    /// Name, value and spelling of each pair.
    fn read(body: &[u8], step: usize) -> Result<Vec<Pair>, Fault> {
        let (mut pairs, mut found) = (Pairs::new(100), Vec::<Pair>::new());
        let mut told = |pairs: &Pairs, step: Step| {
            let raw = std::str::from_utf8(pairs.raw()).unwrap();
            match step {
                Step::Name => found.push((pairs.text().to_owned(), String::new(), raw.to_owned())),
                Step::Value => {
                    let pair = found.last_mut().unwrap();
                    pair.1.push_str(pairs.text());
                    pair.2.push_str(raw);
                }
                Step::End => {}
            }
        };
        for chunk in body.chunks(step) {
            let mut input = chunk;
            while let Some(step) = pairs.next(&mut input)? {
                told(&pairs, step);
            }
        }
        while let Some(step) = pairs.finish()? {
            told(&pairs, step);
        }
        Ok(found)
    }

    #[test]
    fn pairs_are_decoded_and_their_spelling_is_kept() {
        let body = "a=1&b=x+y%20%C3%A4&&%61=%26=&c&=v&d=&e=a@b.c/?";
        let wanted: Vec<Pair> = [
            ("a", "1", "a=1"),
            ("b", "x y ä", "b=x+y%20%C3%A4"),
            ("a", "&=", "%61=%26="),
            ("c", "", "c"),
            ("", "v", "=v"),
            ("d", "", "d="),
            ("e", "a@b.c/?", "e=a@b.c/?"),
        ]
        .map(|(name, value, raw)| (name.to_owned(), value.to_owned(), raw.to_owned()))
        .to_vec();
        for step in [1, 2, 3, 100] {
            assert_eq!(read(body.as_bytes(), step).as_ref(), Ok(&wanted), "in pieces of {step}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_a_fault() {
        for (body, kind) in [
            ("a=%4", FaultKind::FormEscape),
            ("a=%4&b", FaultKind::FormEscape),
            ("a=%zz", FaultKind::FormEscape),
            ("%=1", FaultKind::FormEscape),
            ("a=1;b=2", FaultKind::FormByte),
            ("a=b c", FaultKind::FormByte),
            ("a=\u{e4}", FaultKind::FormByte),
            ("a=1#b", FaultKind::FormByte),
            ("a=1\r\n", FaultKind::FormByte),
            ("a=%FF", FaultKind::FormUtf8),
            ("a=%C3", FaultKind::FormUtf8),
            ("a=%C3b", FaultKind::FormUtf8),
            ("a=%ED%A0%80", FaultKind::FormUtf8),
            ("a=%C0%AF", FaultKind::FormUtf8),
            ("%C3=%A4", FaultKind::FormUtf8),
            ("a=%F0%9F%98&b=1", FaultKind::FormUtf8),
        ] {
            for step in [1, 2, 100] {
                assert_eq!(read(body.as_bytes(), step).map_err(|fault| fault.kind), Err(kind), "{body}");
            }
        }
        // A name that is too long ends with the byte that is too many, whatever follows and however it is cut.
        for rest in ["n", "n=1", ";", "%zz", "%C3%A4"] {
            let body = format!("a=1&{}{rest}", "n".repeat(100));
            for step in [1, 3, 7, 1000] {
                let fault = Fault { kind: FaultKind::FormName, offset: 104 };
                assert_eq!(read(body.as_bytes(), step), Err(fault), "{body} in pieces of {step}");
            }
        }
        assert!(read(format!("{}=1", "n".repeat(100)).as_bytes(), 1000).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back_however_it_is_cut(
            pairs in prop::collection::vec((any::<String>(), any::<String>()), 0..6),
            step in 1_usize..9,
        ) {
            let mut body = Vec::new();
            for (index, (name, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    body.push(b'&');
                }
                encode(name, &mut body);
                body.push(b'=');
                encode(value, &mut body);
            }
            prop_assume!(pairs.iter().all(|(name, _)| name.len() < 30));
            let found: Vec<_> = read(&body, step).unwrap().into_iter().map(|(name, value, _)| (name, value)).collect();
            prop_assert_eq!(found, pairs);
        }

        #[test]
        fn pairs_are_the_same_however_they_are_cut(
            pieces in prop::collection::vec(prop::sample::select(vec!["a", "=", "&", "%41", "%C3%A4", "%", "4", "+", "%E2%82", "%AC", ";"]), 0..12),
            step in 1_usize..6,
        ) {
            let body = pieces.concat();
            let whole = read(body.as_bytes(), usize::MAX);
            prop_assert_eq!(read(body.as_bytes(), step), whole.clone());
            if let Ok(pairs) = whole {
                let kept: Vec<String> = pairs.into_iter().map(|(_, _, raw)| raw).collect();
                let given: Vec<&str> = body.split('&').filter(|pair| !pair.is_empty()).collect();
                prop_assert_eq!(kept, given);
            }
        }
    }
}
