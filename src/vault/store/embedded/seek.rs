//! Finds what is to be forgotten, some at a time.
//!
//! Values, tokens, subjects and ends have tables that lead to their entries. For the others all entries are walked through, and a
//! [`Sweep`] remembers how far, so that to forget many, some at a time, is one walk. Start at [`Sweep::seek`].

use std::sync::{Mutex, PoisonError};

use super::super::{Forget, TokenId};
use super::Failure;
use super::tables::Tables;

/// A walk that was broken off because it had found enough.
pub(super) struct Sweep {
    what: Forget,
    at: TokenId,
}

impl Sweep {
    /// Up to `most` tokens of what is to be forgotten; fewer are all that there were.
    pub(super) fn seek(
        broken_off: &Mutex<Option<Self>>,
        tables: &Tables,
        what: &Forget,
        most: usize,
    ) -> Result<Vec<TokenId>, Failure> {
        match what {
            Forget::Values(digests) => {
                let tokens = digests.iter().filter_map(|digest| tables.token_of(digest).transpose());
                tokens.take(most).collect()
            }
            Forget::Tokens(tokens) => {
                let kept = tokens.iter().filter_map(|token| match tables.has(token) {
                    Ok(has) => has.then_some(Ok(*token)),
                    Err(failure) => Some(Err(failure)),
                });
                kept.take(most).collect()
            }
            Forget::Subject(subject) => tables.of_subject(subject, most),
            Forget::EndedBefore(time) => tables.ended(*time, most),
            Forget::Domain(..) | Forget::IssuedBefore(_) => Self::walk(broken_off, tables, what, most),
        }
    }

    /// From where the last walk for the same was broken off to the end, and then from the beginning to there: what came in behind it
    /// meanwhile is not left out.
    fn walk(
        broken_off: &Mutex<Option<Self>>,
        tables: &Tables,
        what: &Forget,
        most: usize,
    ) -> Result<Vec<TokenId>, Failure> {
        let last = broken_off.lock().unwrap_or_else(PoisonError::into_inner).take();
        let from = last.filter(|last| last.what == *what).map(|last| last.at);
        let mut found = Vec::new();
        find(tables, what, (from, None), most, &mut found)?;
        if from.is_some() {
            find(tables, what, (None, from), most, &mut found)?;
        }
        if let (Some(at), true) = (found.last(), found.len() >= most) {
            let sweep = Self { what: what.clone(), at: *at };
            *broken_off.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweep);
        }
        Ok(found)
    }
}

/// Adds what is meant, behind one token and up to another, until there are `most`.
fn find(
    tables: &Tables,
    what: &Forget,
    (after, until): (Option<TokenId>, Option<TokenId>),
    most: usize,
    found: &mut Vec<TokenId>,
) -> Result<(), Failure> {
    if found.len() >= most {
        return Ok(());
    }
    tables.walk(after, |kept| {
        let entry = kept.row.entry;
        if until.is_some_and(|until| entry.token > until) {
            return Ok(false);
        }
        let meant = match what {
            Forget::Domain(domain, epoch) => entry.domain == *domain && epoch.is_none_or(|epoch| entry.epoch == epoch),
            Forget::IssuedBefore(time) => entry.issued_ms < *time,
            _ => false,
        };
        if meant {
            found.push(entry.token);
        }
        Ok(found.len() < most)
    })?;
    Ok(())
}
