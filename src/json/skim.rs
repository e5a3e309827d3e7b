//! Walks over one value without asking what is in it: strict, resumable, no recursion, a bit for each level.
//!
//! For what is copied or removed as a whole, and to find the end of what has to be held. It makes no edits and knows no
//! policy. Start at [`Skim::run`].

use super::FaultKind;
use super::marks::{Marks, View};
use super::scan::{self, Bad, Digits, Token, bad};

/// What the grammar allows next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A value.
    Value,
    /// Behind `[`: a value or `]`.
    FirstValue,
    /// Behind `{`: a name or `}`.
    FirstName,
    /// Behind a comma in an object: a name.
    Name,
    /// Inside a name.
    InName,
    /// Behind a name: a colon.
    Colon,
    /// Inside a string.
    InString,
    /// Inside a number.
    InNumber,
    /// Behind a value: a comma or the closer.
    After,
}

/// One value being walked over.
#[derive(Debug)]
pub(super) struct Skim {
    at: At,
    digits: Digits,
    depth: usize,
    /// Bit n: is the container at level n an object?
    objects: Vec<u64>,
}

impl Skim {
    pub(super) fn new() -> Self {
        Self::default()
    }
}

impl Default for Skim {
    fn default() -> Self {
        Self { at: At::Value, digits: Digits::Start, depth: 0, objects: Vec::new() }
    }
}

impl Skim {
    /// Makes it ready for the next value.
    #[inline]
    pub(super) fn restart(&mut self) {
        self.at = At::Value;
        self.digits = Digits::Start;
        self.depth = 0;
    }

    /// Containers that are open in the value.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Has it come to the value's end?
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.depth == 0 && self.at == At::After
    }

    /// The document ends here: is the value whole? Only a number can be.
    pub(super) fn is_whole_at_end(&self) -> bool {
        self.depth == 0 && self.at == At::InNumber && self.digits.is_number()
    }

    /// Goes on from `pos` to the value's end or the buffer's. No more than `room` containers may be open in it.
    ///
    /// What lies in the stretch of `marks` is taken in one tight loop; the rest, and the faults, byte by byte.
    pub(super) fn run(&mut self, marks: &mut Marks, buf: &[u8], mut pos: usize, room: usize) -> Result<Token, Bad> {
        loop {
            let starts = self.at == At::Value && self.depth == 0;
            if (starts || self.at == At::After && self.depth > 0)
                && let Some(mut view) = marks.over(buf, pos)
            {
                let base = view.base;
                pos = base + self.quick(&mut view, pos - base, room);
                let next = view.next;
                marks.passed(next);
                if self.is_done() {
                    return Ok(Token::Done(pos));
                }
            }
            if let Some(token) = self.slow(buf, &mut pos, room)? {
                return Ok(token);
            }
        }
    }

    /// As far as the marks say: gives where it stopped, behind a value or an opener.
    pub(super) fn quick(&mut self, view: &mut View<'_>, from: usize, room: usize) -> usize {
        // Where what has been seen ends, and how to go on there.
        let mut seen = from;
        let mut object = self.is_object();
        let mut behind = self.at == At::After;
        // None: the marks do not say, or there is a fault. Either is for the slow way.
        let mut walk = || -> Option<()> {
            let mut at = from;
            loop {
                if !behind {
                    at = view.blank(at)?;
                    let first = view.byte(at)?;
                    match first {
                        b'"' => at = view.string(at, false)? + 1,
                        b'-' | b'0'..=b'9' => at = view.number(at)?,
                        b't' | b'f' | b'n' => at = view.literal(at, first)?,
                        b'{' | b'[' if self.depth < room => {
                            object = first == b'{';
                            self.push(object);
                            at += 1;
                            (seen, self.at) = (at, if object { At::FirstName } else { At::FirstValue });
                            at = view.blank(at)?;
                            match (view.byte(at)?, object) {
                                (b'"', true) => at = view.member(at)?,
                                (b'}', true) | (b']', false) => {
                                    at += 1;
                                    self.depth -= 1;
                                    object = self.is_object();
                                    (seen, self.at) = (at, At::After);
                                    if self.depth == 0 {
                                        return None;
                                    }
                                }
                                (_, true) => return None,
                                (_, false) => continue,
                            }
                            if self.at != At::After {
                                continue;
                            }
                        }
                        _ => return None,
                    }
                    (seen, self.at) = (at, At::After);
                    if self.depth == 0 {
                        return None;
                    }
                }
                behind = false;
                at = view.blank(at)?;
                match (view.byte(at)?, object) {
                    (b',', true) => at = view.member(view.blank(at + 1)?)?,
                    (b',', false) => at += 1,
                    (b'}', true) | (b']', false) => {
                        at += 1;
                        self.depth -= 1;
                        object = self.is_object();
                        (seen, behind) = (at, true);
                        if self.depth == 0 {
                            return None;
                        }
                    }
                    _ => return None,
                }
            }
        };
        walk();
        seen
    }

    /// Byte by byte, to behind the next value. `None`: there may be more in it.
    fn slow(&mut self, buf: &[u8], place: &mut usize, room: usize) -> Result<Option<Token>, Bad> {
        let (mut pos, from) = (*place, *place);
        let mut at = self.at;
        // The kind of the innermost container; what is below it lies in `objects`.
        let mut object = self.is_object();
        let result = loop {
            match at {
                At::Value | At::FirstValue => {
                    pos = scan::blank(buf, pos);
                    let Some(byte) = buf.get(pos) else { break Ok(Some(Token::More(pos))) };
                    match byte {
                        b'"' => {
                            pos += 1;
                            at = At::InString;
                        }
                        b'{' | b'[' => {
                            if self.depth >= room {
                                break bad(FaultKind::Depth, pos);
                            }
                            object = *byte == b'{';
                            self.push(object);
                            pos += 1;
                            at = if object { At::FirstName } else { At::FirstValue };
                        }
                        b'-' | b'0'..=b'9' => {
                            self.digits = Digits::Start;
                            at = At::InNumber;
                        }
                        b't' | b'f' | b'n' => match scan::literal(buf, pos) {
                            Ok(Token::Done(end)) => {
                                pos = end;
                                at = At::After;
                            }
                            other => break other.map(Some),
                        },
                        b']' if at == At::FirstValue => at = At::After,
                        _ => break bad(FaultKind::Syntax, pos),
                    }
                }
                At::InString => match scan::string(buf, pos, false, &mut false) {
                    Ok(Token::Done(end)) => {
                        pos = end;
                        at = At::After;
                    }
                    other => break other.map(Some),
                },
                At::InNumber => match scan::number(buf, pos, &mut self.digits) {
                    Ok(Token::Done(end)) => {
                        pos = end;
                        at = At::After;
                    }
                    other => break other.map(Some),
                },
                At::FirstName | At::Name => {
                    pos = scan::blank(buf, pos);
                    match buf.get(pos) {
                        Some(b'"') => {
                            pos += 1;
                            at = At::InName;
                        }
                        Some(b'}') if at == At::FirstName => at = At::After,
                        Some(_) => break bad(FaultKind::Syntax, pos),
                        None => break Ok(Some(Token::More(pos))),
                    }
                }
                At::InName => match scan::string(buf, pos, true, &mut false) {
                    Ok(Token::Done(end)) => {
                        pos = end;
                        at = At::Colon;
                    }
                    other => break other.map(Some),
                },
                At::Colon => {
                    pos = scan::blank(buf, pos);
                    match buf.get(pos) {
                        Some(b':') => {
                            pos += 1;
                            at = At::Value;
                        }
                        Some(_) => break bad(FaultKind::Syntax, pos),
                        None => break Ok(Some(Token::More(pos))),
                    }
                }
                At::After => {
                    if self.depth == 0 {
                        break Ok(Some(Token::Done(pos)));
                    }
                    if pos != from {
                        break Ok(None);
                    }
                    pos = scan::blank(buf, pos);
                    match buf.get(pos) {
                        Some(b',') => {
                            pos += 1;
                            at = if object { At::Name } else { At::Value };
                        }
                        Some(b'}') if object => {
                            pos += 1;
                            self.depth -= 1;
                            object = self.is_object();
                        }
                        Some(b']') if !object => {
                            pos += 1;
                            self.depth -= 1;
                            object = self.is_object();
                        }
                        Some(_) => break bad(FaultKind::Syntax, pos),
                        None => break Ok(Some(Token::More(pos))),
                    }
                }
            }
        };
        self.at = at;
        *place = pos;
        result
    }

    #[inline]
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.objects.len() {
            self.objects.push(0);
        }
        if let Some(word) = self.objects.get_mut(word) {
            *word = *word & !(1 << bit) | u64::from(object) << bit;
        }
        self.depth += 1;
    }

    #[inline]
    fn is_object(&self) -> bool {
        let Some(level) = self.depth.checked_sub(1) else { return false };
        self.objects.get(level / 64).is_some_and(|word| word >> (level % 64) & 1 == 1)
    }
}
