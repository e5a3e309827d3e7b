//! What many callers want, as one statement: each value once, in the order of digests. Start at [`Connection::put`] and
//! [`Connection::find`].

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;

use super::super::{Entry, SubjectDigest, TokenId, ValueDigest};
use super::connect::Connection;
use super::failure::Failure;
use super::rows;

/// Sealed bytes in one statement, and values: what is more is sent in several, without waiting in between.
const STATEMENT_BYTES: usize = 16 << 20;
const STATEMENT_VALUES: usize = 4096;
/// How often a put is done again because of what others did meanwhile: each time somebody else has got on.
const ATTEMPTS: u32 = 20;

/// As often for a token that is there: it is, unless it was this very entry, put by two at once.
const CLASHES: u32 = 3;

/// The tokens that won, by value.
pub(super) type Won = HashMap<ValueDigest, TokenId>;

/// A value, and everybody to whom it belongs.
struct Wanted<'e> {
    entry: &'e Entry,
    subjects: Vec<SubjectDigest>,
}

impl Connection {
    /// Keeps these, and gives what won. Durable on return.
    pub(super) async fn put<'e>(&self, entries: impl Iterator<Item = &'e Entry>) -> Result<Won, Failure> {
        let wanted = merge(entries);
        let won = try_join_all(statements(&wanted).into_iter().map(|part| self.put_part(part))).await?;
        // Read after all answers: it was noted before the one that it came with.
        self.doubt()?;
        Ok(won.into_iter().flatten().collect())
    }

    async fn put_part(&self, wanted: &[Wanted<'_>]) -> Result<Vec<(ValueDigest, TokenId)>, Failure> {
        let mut clashes = 0;
        for _ in 0..ATTEMPTS {
            match self.put_once(wanted).await {
                // Rolled back whole: what others did meanwhile is seen the next time.
                Err(again) if again.is_clash() => clashes += 1,
                Err(again) if again.is_of_the_moment() => {}
                done => return done,
            }
            if clashes == CLASHES {
                return Err(Failure::TokenTaken);
            }
        }
        Err(Failure::Contended)
    }

    async fn put_once(&self, wanted: &[Wanted<'_>]) -> Result<Vec<(ValueDigest, TokenId)>, Failure> {
        let column = |of: fn(&Entry) -> &[u8]| wanted.iter().map(|wanted| of(wanted.entry)).collect::<Vec<_>>();
        let (digests, tokens) = (column(|entry| &entry.digest), column(|entry| &entry.token));
        let (domains, sealed) = (column(|entry| &entry.domain), column(|entry| &entry.sealed));
        let entries = || wanted.iter().map(|wanted| wanted.entry);
        let epochs: Vec<i64> = entries().map(|entry| i64::from(entry.epoch)).collect();
        let spellings: Vec<i16> = entries().map(|entry| i16::from(entry.spelling.code())).collect();
        let issued: Vec<i64> = entries().map(|entry| rows::time(entry.issued_ms)).collect();
        let ends: Vec<Option<i64>> = entries().map(|entry| entry.ends_ms.map(rows::time)).collect();
        let links =
            wanted.iter().flat_map(|wanted| wanted.subjects.iter().map(|of| (&wanted.entry.digest[..], &of[..])));
        let (linked, subjects): (Vec<&[u8]>, Vec<&[u8]>) = links.unzip();
        let values: [&(dyn ToSql + Sync); 10] =
            [&digests, &tokens, &domains, &epochs, &spellings, &sealed, &issued, &ends, &linked, &subjects];
        let won = self.client.query(&self.put, &values).await?;
        won.iter().map(|row| Ok((rows::array(row, 0)?, rows::array(row, 1)?))).collect()
    }

    /// The entries of these tokens, as far as they are kept.
    pub(super) async fn find<'t>(
        &self,
        tokens: impl Iterator<Item = &'t TokenId>,
    ) -> Result<HashMap<TokenId, Entry>, Failure> {
        let mut tokens: Vec<&[u8]> = tokens.map(|token| &token[..]).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let found = self.client.query(&self.find, &[&tokens]).await?;
        found.iter().map(|row| rows::entry(row).map(|entry| (entry.token, entry))).collect()
    }
}

/// Each value once, with everybody's subjects: of callers that want the same at the same time the first wins.
fn merge<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Wanted<'e>> {
    let (mut wanted, mut places): (Vec<Wanted<'e>>, HashMap<ValueDigest, usize>) = Default::default();
    for entry in entries {
        match places.entry(entry.digest) {
            Slot::Vacant(place) => {
                place.insert(wanted.len());
                wanted.push(Wanted { entry, subjects: entry.subjects.clone() });
            }
            Slot::Occupied(place) => {
                if let Some(known) = wanted.get_mut(*place.get()) {
                    known.subjects.extend(&entry.subjects);
                }
            }
        }
    }
    wanted.sort_unstable_by_key(|wanted| wanted.entry.digest);
    wanted
}

/// Parts that fit into a statement each.
fn statements<'w, 'e>(mut wanted: &'w [Wanted<'e>]) -> Vec<&'w [Wanted<'e>]> {
    let mut parts = Vec::new();
    while !wanted.is_empty() {
        let mut bytes = 0;
        let fits = |one: &&Wanted<'_>| {
            let first = bytes == 0;
            bytes += one.entry.sealed.len() + 1;
            first || bytes <= STATEMENT_BYTES
        };
        let count = wanted.iter().take(STATEMENT_VALUES).take_while(fits).count();
        let (part, rest) = wanted.split_at(count);
        parts.push(part);
        wanted = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::super::Spelling;
    use super::*;

    fn entry(number: u8, token: u8, bytes: usize, subjects: &[u8]) -> Entry {
        let subjects = subjects.iter().map(|subject| [*subject; 16]).collect();
        let (domain, spelling, sealed) = ([0; 16], Spelling::Opaque, vec![0; bytes]);
        let (digest, token) = ([number; 32], [token; 16]);
        Entry { digest, token, domain, epoch: 1, spelling, sealed, subjects, issued_ms: 0, ends_ms: None }
    }

    #[test]
    fn each_value_is_put_once_with_the_subjects_of_all_in_the_order_of_digests() {
        let entries = [entry(2, 1, 0, &[1]), entry(1, 2, 0, &[]), entry(2, 3, 0, &[2, 1])];
        let merged = merge(entries.iter());
        let seen: Vec<_> = merged.iter().map(|one| (one.entry.token[0], one.subjects.len())).collect();
        assert_eq!(seen, [(2, 0), (1, 3)]);
    }

    #[test]
    fn what_is_too_much_for_a_statement_is_split_and_nothing_is_left_out() {
        let sizes = [STATEMENT_BYTES * 2, 1, 2, STATEMENT_BYTES - 4, 5, STATEMENT_BYTES];
        let entries: Vec<_> = sizes.iter().zip(1..).map(|(bytes, number)| entry(number, 0, *bytes, &[])).collect();
        let parts =
            |entries: &[Entry]| statements(&merge(entries.iter())).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(parts(&entries), [1, 2, 1, 1, 1]);
        assert_eq!(parts(&[]), [0; 0]);
        let many: Vec<_> = (0..9000_u16)
            .map(|number| {
                let mut one = entry(0, 0, 1, &[]);
                one.digest[..2].copy_from_slice(&number.to_be_bytes());
                one
            })
            .collect();
        assert_eq!(parts(&many), [4096, 4096, 808]);
    }
}
