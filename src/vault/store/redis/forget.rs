//! Finds what is to be forgotten, some at a time, and tells or forgets it.
//!
//! Values, tokens, persons and ends are led to; for the others all rows are looked through on the servers, and a [`Sweep`] remembers how far, so
//! that to forget many, some at a time, is one walk. What was found is forgotten only if it still is what was found. Start at
//! [`Redis::take_all`].

use std::collections::HashSet;
use std::sync::PoisonError;

use super::super::{Forget, Forgotten, Spelling, TokenId, ValueDigest};
use super::fault::Fault;
use super::keys::{self, Kind, ROW_BUCKETS};
use super::nodes::Command;
use super::scripts::Script;
use super::wire::Reply;
use super::{Redis, garbled};

/// Buckets that are asked at once.
const BUCKETS: u16 = 128;
/// Rows that are looked through in one step on a server: under a millisecond.
const ROWS: &[u8] = b"500";
/// How long after a row was seen to be gone its pointer may be taken away, and how old that must be; see [`super`].
const SEEN_S: i64 = 20;
const AGE_S: &[u8] = b"60";

/// A walk that was broken off because it had found enough.
pub(super) struct Sweep {
    what: Forget,
    bucket: u16,
}

/// What is done with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It is told.
    Look,
    /// It is forgotten, and told.
    Drop,
}

/// Something to forget.
struct Found {
    digest: ValueDigest,
    /// Only if it has this token.
    token: Option<TokenId>,
    /// Only if this is in its index.
    led: Vec<u8>,
}

impl Redis {
    /// Tells or forgets up to `most`.
    pub(super) async fn take_all(&self, act: Act, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Fault> {
        match what {
            Forget::Values(digests) => {
                let found = |digest: &ValueDigest| Found { digest: *digest, token: None, led: Vec::new() };
                self.take_some(act, digests.iter().map(found), most).await
            }
            Forget::Tokens(tokens) => {
                let found = self.pointers(tokens).await?.into_iter().zip(tokens);
                let found = found.filter_map(|(digest, token)| {
                    Some(Found { digest: digest?, token: Some(*token), led: Vec::new() })
                });
                self.take_some(act, found, most).await
            }
            Forget::Subject(subject) => {
                let range = |end: u8| [b"[s", subject.as_slice(), &[end; 32]].concat();
                self.take_led(act, (&range(0), &range(255)), most).await
            }
            Forget::EndedBefore(time) => {
                let end = [b"(e", time.to_be_bytes().as_slice()].concat();
                self.take_led(act, (b"[e", &end), most).await
            }
            Forget::Domain(..) | Forget::IssuedBefore(_) => self.sweep(act, what, most).await,
        }
    }

    /// These, until `most` were there.
    async fn take_some(
        &self,
        act: Act,
        mut found: impl Iterator<Item = Found> + Send,
        most: usize,
    ) -> Result<Vec<Forgotten>, Fault> {
        let mut gone = Vec::new();
        while gone.len() < most {
            let step: Vec<Found> = found.by_ref().take((most - gone.len()).min(1000)).collect();
            if step.is_empty() {
                break;
            }
            gone.extend(self.take(act, &step).await?);
        }
        Ok(gone)
    }

    /// What the index has between these, bucket by bucket.
    async fn take_led(&self, act: Act, between: (&[u8], &[u8]), most: usize) -> Result<Vec<Forgotten>, Fault> {
        let mut gone = Vec::new();
        for begin in (0..ROW_BUCKETS).step_by(usize::from(BUCKETS)) {
            loop {
                let wanted = most - gone.len();
                let found = self.led_between(begin, between, wanted).await?;
                let is_last = found.len() < wanted;
                let taken = self.take(act, &found).await?;
                if act == Act::Look && taken.len() < found.len() && !is_last {
                    // Somebody forgot some in between: what is behind them comes with the next look.
                    continue;
                }
                gone.extend(taken);
                if gone.len() >= most {
                    return Ok(gone);
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(gone)
    }

    async fn led_between(&self, begin: u16, (first, last): (&[u8], &[u8]), most: usize) -> Result<Vec<Found>, Fault> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let (limit, buckets) = (most.to_string(), begin..(begin + BUCKETS).min(ROW_BUCKETS));
        let commands: Vec<_> = buckets
            .map(|number| {
                let bucket = keys::row_bucket(number);
                let index = self.nodes.keys().name(bucket, Kind::Index);
                let parts: [&[u8]; 7] = [b"ZRANGEBYLEX", &index, first, last, b"LIMIT", b"0", limit.as_bytes()];
                Command::read(bucket, &parts)
            })
            .collect();
        let mut found = Vec::new();
        for reply in self.nodes.all(&commands).await? {
            for led in reply.list().ok_or_else(garbled)? {
                let led = led.text().ok_or_else(garbled)?;
                let digest = *led.last_chunk().ok_or(Fault::Damaged)?;
                found.push(Found { digest, token: None, led: led.to_vec() });
            }
        }
        found.truncate(most);
        Ok(found)
    }

    /// From where the last walk for the same was broken off to the end, and then from the beginning to there: what came in behind it
    /// meanwhile is not left out.
    async fn sweep(&self, act: Act, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Fault> {
        let last = self.sweep.lock().unwrap_or_else(PoisonError::into_inner).take();
        let start = last.filter(|last| last.what == *what).map_or(0, |last| last.bucket);
        let (mut gone, mut seen) = (Vec::new(), HashSet::new());
        for bucket in (start..ROW_BUCKETS).chain(0..start).step_by(usize::from(BUCKETS)) {
            let all = (0..BUCKETS).map(|next| (bucket + next) % ROW_BUCKETS);
            let mut cursors: Vec<(u16, Vec<u8>)> = all.map(|bucket| (bucket, b"0".to_vec())).collect();
            while !cursors.is_empty() && gone.len() < most {
                let mut found = self.sift(what, &mut cursors).await?;
                // A walk may come by one twice.
                found.retain(|found| seen.insert(found.digest));
                gone.extend(self.take_some(act, found.into_iter(), most - gone.len()).await?);
            }
            if gone.len() >= most {
                let sweep = Sweep { what: what.clone(), bucket };
                *self.sweep.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweep);
                break;
            }
        }
        Ok(gone)
    }

    /// One step through each of these buckets; those that are at their end are left out of the next.
    async fn sift(&self, what: &Forget, cursors: &mut Vec<(u16, Vec<u8>)>) -> Result<Vec<Found>, Fault> {
        let (mut domain, mut epoch, mut before) = (Vec::new(), Vec::new(), [String::new(), String::new()]);
        match what {
            Forget::Domain(tag, number) => {
                domain.extend(tag);
                epoch.extend(number.iter().flat_map(|number| number.to_be_bytes()));
            }
            Forget::IssuedBefore(time) => before = [(time >> 32).to_string(), (time & 0xffff_ffff).to_string()],
            _ => return Ok(Vec::new()),
        }
        let [high, low] = before;
        let commands: Vec<_> = cursors
            .iter()
            .map(|(number, cursor)| {
                let arguments: [&[u8]; 6] = [cursor, ROWS, &domain, &epoch, high.as_bytes(), low.as_bytes()];
                self.nodes.call(Script::Sift, keys::row_bucket(*number), &[Kind::Rows], &arguments)
            })
            .collect();
        let (mut found, mut next) = (Vec::new(), Vec::new());
        for ((number, _), reply) in cursors.iter().zip(self.nodes.all(&commands).await?) {
            let (cursor, pairs) = reply.list().and_then(<[Reply]>::split_first).ok_or_else(garbled)?;
            let cursor = cursor.text().ok_or_else(garbled)?;
            if cursor != b"0" {
                next.push((*number, cursor.to_vec()));
            }
            for [digest, token] in pairs.as_chunks().0 {
                let digest = digest.text().and_then(|digest| digest.try_into().ok()).ok_or(Fault::Damaged)?;
                let token = token.text().and_then(|token| token.try_into().ok()).ok_or(Fault::Damaged)?;
                found.push(Found { digest, token: Some(token), led: Vec::new() });
            }
        }
        *cursors = next;
        Ok(found)
    }

    async fn take(&self, act: Act, found: &[Found]) -> Result<Vec<Forgotten>, Fault> {
        match act {
            Act::Look => self.look_at(found).await,
            Act::Drop => self.drop_these(found).await,
        }
    }

    /// What there is of these.
    async fn look_at(&self, found: &[Found]) -> Result<Vec<Forgotten>, Fault> {
        let command = |found: &Found| {
            let bucket = keys::of_digest(&found.digest);
            Command::read(bucket, &[b"HGET", &self.nodes.keys().name(bucket, Kind::Rows), &found.digest])
        };
        let commands: Vec<_> = found.iter().map(command).collect();
        let mut seen = Vec::new();
        for (found, reply) in found.iter().zip(self.nodes.all(&commands).await?) {
            let row = match &reply {
                Reply::Nothing => continue,
                Reply::Text(row) => row,
                _ => return Err(garbled()),
            };
            let told = read_head(row).ok_or(Fault::Damaged)?;
            if found.token.is_none_or(|token| token == told.token) {
                seen.push(told);
            }
        }
        Ok(seen)
    }

    /// Forgets these, durably, if they are still there; then their pointers, which lead to nothing any more.
    async fn drop_these(&self, found: &[Found]) -> Result<Vec<Forgotten>, Fault> {
        let command = |found: &Found| {
            let token = found.token.as_ref().map(TokenId::as_slice).unwrap_or_default();
            let arguments: [&[u8]; 3] = [&found.digest, token, &found.led];
            self.nodes.call(Script::Drop, keys::of_digest(&found.digest), &[Kind::Rows, Kind::Index], &arguments)
        };
        let commands: Vec<_> = found.iter().map(command).collect();
        let (mut gone, mut pointers) = (Vec::new(), Vec::new());
        for (found, reply) in found.iter().zip(self.nodes.all(&commands).await?) {
            let [head, seen] = match &reply {
                Reply::Nothing => continue,
                Reply::List(parts) => parts.as_array().ok_or_else(garbled)?,
                _ => return Err(garbled()),
            };
            let forgotten = head.text().and_then(read_head).ok_or(Fault::Damaged)?;
            let last = seen.number().ok_or_else(garbled)?.saturating_add(SEEN_S).to_string();
            let bucket = keys::pointer_bucket(keys::of_token(&forgotten.token));
            let arguments: [&[u8]; 4] = [&forgotten.token, &found.digest, last.as_bytes(), AGE_S];
            pointers.push(self.nodes.call(Script::Unpoint, bucket, &[Kind::Pointers], &arguments));
            gone.push(forgotten);
        }
        // What is forgotten is forgotten already: a pointer that stays is no more than some bytes.
        let _ = self.nodes.all(&pointers).await;
        Ok(gone)
    }
}

/// Form, flags, spelling, token, domain, epoch.
fn read_head(head: &[u8]) -> Option<Forgotten> {
    let (&[_, _, spelling], rest) = head.split_first_chunk()?;
    let (token, rest) = rest.split_first_chunk()?;
    let (domain, rest) = rest.split_first_chunk()?;
    let epoch = u32::from_be_bytes(*rest.first_chunk()?);
    Some(Forgotten { token: *token, domain: *domain, epoch, spelling: Spelling::from_code(spelling)? })
}
