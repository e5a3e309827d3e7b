//! Looks ahead in an array of which elements count from the end: so far that the next one can be decided.
//!
//! An element is the k-th from the end, or is not, once k more have begun behind it or the array has ended. So no more than the
//! last k elements are held. It finds the ends of elements and nothing else. Start at [`Scout::look`].

use super::FaultKind;
use super::marks::Marks;
use super::scan::{self, Bad, Token, bad};
use super::skim::Skim;

/// How far the look into one open array goes.
#[derive(Debug)]
pub(super) struct Scout {
    /// Where it goes on; `None` before the first element.
    at: Option<usize>,
    /// The most that an element can count from the end.
    reach: u64,
    /// Elements that have begun.
    begun: u64,
    stage: Stage,
    skim: Skim,
    marks: Marks,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Between,
    Value,
    Closed,
}

/// What a look found.
pub(super) enum Seen {
    /// The array's length, or one for which all that counts from the end gives the same answers.
    Length(u64),
    /// Not yet.
    More,
}

impl Scout {
    pub(super) fn new(reach: u64) -> Self {
        Self { at: None, reach, begun: 0, stage: Stage::Between, skim: Skim::new(), marks: Marks::default() }
    }

    /// Looks as far as element `index`, which begins at `pos`, needs. No more than `room` containers may be open in an element.
    pub(super) fn look(&mut self, buf: &[u8], pos: usize, index: u64, room: usize) -> Result<Seen, Bad> {
        let mut at = *self.at.get_or_insert(pos);
        if self.begun == 0 {
            self.begin();
        }
        let seen = loop {
            if self.stage == Stage::Closed {
                break Seen::Length(self.begun);
            }
            if self.begun > index.saturating_add(self.reach) {
                break Seen::Length(index.saturating_add(1).saturating_add(self.reach));
            }
            if self.stage == Stage::Value {
                match self.skim.run(&mut self.marks, buf, at, room)? {
                    Token::Done(end) => (at, self.stage) = (end, Stage::Between),
                    Token::More(end) => {
                        at = end;
                        break Seen::More;
                    }
                }
            }
            at = scan::blank(buf, at);
            match buf.get(at) {
                Some(b',') => {
                    at += 1;
                    self.begin();
                }
                Some(b']') => self.stage = Stage::Closed,
                Some(_) => return bad(FaultKind::Syntax, at),
                None => break Seen::More,
            }
        };
        self.at = Some(at);
        Ok(seen)
    }

    fn begin(&mut self) {
        self.begun += 1;
        self.stage = Stage::Value;
        self.skim.restart();
    }

    /// For the place of a fault: the element, and the levels open in it.
    pub(super) fn place(self) -> (u64, Skim) {
        (self.begun.saturating_sub(1), self.skim)
    }

    /// The buffer's first `gone` bytes are gone.
    pub(super) fn shift(&mut self, gone: usize) {
        self.at = self.at.map(|at| at.saturating_sub(gone));
        self.marks.forget();
    }
}
