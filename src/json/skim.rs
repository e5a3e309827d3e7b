//! Walks over one value without asking what is in it: strict, resumable, no recursion, a bit for each level.
//!
//! For what is copied or removed as a whole, and to find the end of what has to be held. It makes no edits and knows no
//! policy. Start at [`Skim::run`].

use super::FaultKind;
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

    /// The document ends here: is the value whole? Only a number can be.
    pub(super) fn is_whole_at_end(&self) -> bool {
        self.depth == 0 && self.at == At::InNumber && self.digits.is_number()
    }

    /// Goes on from `pos` to the value's end or the buffer's. No more than `room` containers may be open in it.
    pub(super) fn run(&mut self, buf: &[u8], mut pos: usize, room: usize) -> Result<Token, Bad> {
        let mut at = self.at;
        // The kind of the innermost container; what is below it lies in `objects`.
        let mut object = self.is_object();
        let result = loop {
            match at {
                At::Value | At::FirstValue => {
                    pos = scan::blank(buf, pos);
                    let Some(byte) = buf.get(pos) else { break Ok(Token::More(pos)) };
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
                            other => break other,
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
                    other => break other,
                },
                At::InNumber => match scan::number(buf, pos, &mut self.digits) {
                    Ok(Token::Done(end)) => {
                        pos = end;
                        at = At::After;
                    }
                    other => break other,
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
                        None => break Ok(Token::More(pos)),
                    }
                }
                At::InName => match scan::string(buf, pos, true, &mut false) {
                    Ok(Token::Done(end)) => {
                        pos = end;
                        at = At::Colon;
                    }
                    other => break other,
                },
                At::Colon => {
                    pos = scan::blank(buf, pos);
                    match buf.get(pos) {
                        Some(b':') => {
                            pos += 1;
                            at = At::Value;
                        }
                        Some(_) => break bad(FaultKind::Syntax, pos),
                        None => break Ok(Token::More(pos)),
                    }
                }
                At::After => {
                    if self.depth == 0 {
                        break Ok(Token::Done(pos));
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
                        None => break Ok(Token::More(pos)),
                    }
                }
            }
        };
        self.at = at;
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
