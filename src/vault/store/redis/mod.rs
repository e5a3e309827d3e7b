//! A store on Redis or Valkey, a server by itself or a cluster: any number of processes share it.
//!
//! What is kept of a value, its row, is under the digest of the value, together with all that leads to it; under the token there is only
//! a pointer to the digest. Under which keys: `keys`. What is done at once on a server: `scripts`. Which server: `nodes`. Whether
//! it may keep anything: `proof`. Not here: time limits and the breaker ([`super::guard`]). Start at [`Redis::open`].
//!
//! # Why no token is given out that cannot be turned back
//!
//! The row is the one thing that decides: a value has the token that its row names, and a token is turned back by the row that names it. Row
//! and index are in one bucket and change at once, by a script. What has to be shown is that **a row has its pointer, for as long as it
//! is there**: then each token that a put gives (it is always that of a row) is found, and of two that race both get the one of the row.
//!
//! A server by itself writes the pointer and the row in one script. In a cluster they are in different slots, and a put of a new value takes three steps,
//! each a round trip for all values of the call:
//!
//! 1. *look*: is there a row? Then its token is the answer (the new subjects were added to it at once), and that is all.
//! 2. *point*: the pointer is written, with the time of its node, durably. No other value can have it: a token is made for one value.
//! 3. *make*: unless there is a row by now, it is made, and its token is the answer. Refused where more than 20 s went by since step 2.
//!
//! Whatever crashes in between leaves a pointer that leads to nothing, and holds no value. So the row is made after its pointer; and a pointer is taken
//! away only by one who saw, at most 20 s before (D), that its row is not there, and only if it was last written more than 60 s ago (A). Let
//! it be taken away at time z, and let a row with its token be made at time x, by a put that wrote the pointer last at s, s < x ≤ s + 20 s (M).
//! Were s > z, the pointer would be there again. So s ≤ z − A, hence x ≤ z − A + M: the row was made 40 s before z or earlier. One who saw at z − D or
//! later that it is not there saw a row that had been forgotten, and it is not made again: that would be a later put, with a later s. So at z there is no
//! such row, and none comes. The times are of the nodes' own clocks, which may differ by up to 20 s (A − D − M) without harm.
//!
//! Each command may be done twice, or late, when a connection breaks: looking again finds the row with its token, pointing again makes the pointer
//! younger, making again finds the row, dropping again finds nothing.
//!
//! What is acknowledged is durable as far as the servers keep their word; `proof` looks that they have given it. A known value's token is
//! waited for as a new one is, since its row may be another's put of a moment ago.

mod connection;
pub mod fault;
mod forget;
mod keys;
mod mark;
mod nodes;
mod places;
mod proof;
mod row;
mod scripts;
pub mod settings;
mod wire;

use std::fmt;
use std::sync::Mutex;

use super::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore, ValueDigest, check_sizes};
use fault::Fault;
use forget::Sweep;
use keys::{Bucket, Kind, POINTER_BUCKETS};
use nodes::{Command, Nodes};
use scripts::Script;
use settings::Settings;
use wire::Reply;

/// A store that is open.
pub struct Redis {
    nodes: Nodes,
    sweep: Mutex<Option<Sweep>>,
}

/// Between the second and the third step of a put.
const MAKE_MS: i64 = 20_000;
/// Buckets of pointers that are read at once, at most.
const PAGE_BUCKETS: u16 = 512;

impl Redis {
    /// Connects, and looks whether what is there keeps what it is given.
    ///
    /// # Errors
    /// What is wrong with it, and how to mend it.
    pub async fn open(settings: Settings) -> Result<Self, Fault> {
        let (memo, place) = (settings.memo.clone(), settings.place());
        let expected = memo.as_ref().and_then(|memo| memo.known(&place));
        let redis = Self { nodes: Nodes::open(settings).await?, sweep: Mutex::new(None) };
        let mark = mark::establish(&redis.nodes, expected.as_deref()).await?;
        // Of a cluster, all of its nodes have to be fit.
        redis.prove().await?;
        if let Some(memo) = memo {
            memo.note(&place, mark);
        }
        Ok(redis)
    }

    /// A put of this entry: `how` is `look` or `make`; `last` the last time to make it.
    fn put_command(&self, entry: &Entry, how: &[u8], last: &str) -> Command {
        let bucket = keys::of_digest(&entry.digest);
        let row = if how == b"look" { Vec::new() } else { row::encode(entry) };
        let keys = self.nodes.keys();
        let rows = keys.name(bucket, Kind::Rows);
        let index = keys.name(bucket, Kind::Index);
        let pointers = keys.name(pointers_of(&entry.token), Kind::Pointers);
        let tag = bucket.tag.to_string();
        let arguments: [&[u8]; 6] =
            [&entry.digest, &row, entry.subjects.as_flattened(), how, tag.as_bytes(), last.as_bytes()];
        let all: [&[u8]; 3] = [&rows, &index, &pointers];
        let used = if self.nodes.is_cluster() { all.get(..2) } else { all.get(..) };
        self.nodes.call_on(Script::Put, bucket, used.unwrap_or_default(), &arguments)
    }

    async fn put(&self, entries: &[Entry]) -> Result<Vec<TokenId>, Fault> {
        if self.nodes.is_cluster() {
            return self.put_in_steps(entries).await;
        }
        let commands: Vec<_> = entries.iter().map(|entry| self.put_command(entry, b"make", "")).collect();
        self.nodes.all(&commands).await?.iter().map(|reply| won(reply)?.ok_or_else(garbled)).collect()
    }

    /// See the module.
    async fn put_in_steps(&self, entries: &[Entry]) -> Result<Vec<TokenId>, Fault> {
        let look: Vec<_> = entries.iter().map(|entry| self.put_command(entry, b"look", "")).collect();
        let known = self.nodes.all(&look).await?.iter().map(won).collect::<Result<Vec<_>, _>>()?;
        let new: Vec<&Entry> =
            entries.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(new, _)| new).collect();
        let point: Vec<_> = new.iter().map(|entry| self.point_command(entry)).collect();
        let pointed = self.nodes.all(&point).await?;
        let mut make = Vec::with_capacity(new.len());
        for (entry, written) in new.into_iter().zip(pointed) {
            let last = match written.number() {
                Some(time @ 0..) => (time + MAKE_MS).to_string(),
                Some(_) => return Err(Fault::TokenTaken),
                None => return Err(garbled()),
            };
            make.push(self.put_command(entry, b"make", &last));
        }
        let made = self.nodes.all(&make).await?.iter().map(won).collect::<Result<Vec<_>, _>>()?;
        let mut made = made.into_iter().flatten();
        known.into_iter().map(|known| known.or_else(|| made.next()).ok_or_else(garbled)).collect()
    }

    fn point_command(&self, entry: &Entry) -> Command {
        let tag = keys::of_digest(&entry.digest).tag.to_string();
        let arguments: [&[u8]; 3] = [&entry.token, &entry.digest, tag.as_bytes()];
        self.nodes.call(Script::Point, pointers_of(&entry.token), &[Kind::Pointers], &arguments)
    }

    /// To which digest each of these tokens leads.
    async fn pointers(&self, tokens: &[TokenId]) -> Result<Vec<Option<ValueDigest>>, Fault> {
        let command = |token: &TokenId| {
            let bucket = pointers_of(token);
            Command::read(bucket, &[b"HGET", &self.nodes.keys().name(bucket, Kind::Pointers), token])
        };
        let commands: Vec<_> = tokens.iter().map(command).collect();
        let read = |reply: Reply| match reply {
            Reply::Nothing => Ok(None),
            Reply::Text(pointer) => led_to(&pointer).map(Some).ok_or(Fault::Damaged),
            _ => Err(garbled()),
        };
        self.nodes.all(&commands).await?.into_iter().map(read).collect()
    }

    /// What is kept of these, in order.
    async fn rows(&self, wanted: &[(ValueDigest, TokenId)]) -> Result<Vec<Reply>, Fault> {
        let command = |(digest, token): &(ValueDigest, TokenId)| {
            self.nodes.call(Script::Get, keys::of_digest(digest), &[Kind::Rows, Kind::Index], &[digest, token])
        };
        let commands: Vec<_> = wanted.iter().map(command).collect();
        self.nodes.all(&commands).await
    }

    async fn find_all(&self, tokens: &[TokenId]) -> Result<Vec<Option<Entry>>, Fault> {
        if !self.nodes.is_cluster() {
            let command = |token: &TokenId| {
                let arguments: [&[u8]; 2] = [token, self.nodes.keys().prefix()];
                self.nodes.call(Script::Find, pointers_of(token), &[Kind::Pointers], &arguments)
            };
            let commands: Vec<_> = tokens.iter().map(command).collect();
            return self.nodes.all(&commands).await?.iter().map(read_entry).collect();
        }
        let pointers = self.pointers(tokens).await?;
        let led: Vec<_> =
            pointers.iter().zip(tokens).filter_map(|(digest, token)| digest.map(|digest| (digest, *token))).collect();
        let rows = self.rows(&led).await?;
        let mut found = rows.iter().map(read_entry).collect::<Result<Vec<_>, _>>()?.into_iter();
        Ok(pointers.iter().map(|digest| digest.and_then(|_| found.next().flatten())).collect())
    }

    /// Reads buckets of pointers, more at a time the emptier they are, until enough of them lead to something.
    async fn page(&self, after: Option<TokenId>, count: usize) -> Result<Page, Fault> {
        let (mut page, mut next, mut width) = (Page::default(), after.as_ref().map_or(0, keys::of_token), 1);
        while next < POINTER_BUCKETS && page.entries.len() < count {
            let buckets = next..(next + width).min(POINTER_BUCKETS);
            (next, width) = (buckets.end, (2 * width).min(PAGE_BUCKETS));
            let (mut found, unread) = self.pointers_of_buckets(buckets).await?;
            page.damaged += unread;
            found.retain(|(_, token)| after.is_none_or(|after| *token > after));
            found.sort_unstable_by_key(|(_, token)| *token);
            for some in found.chunks(count.clamp(1, 1000)) {
                if page.entries.len() < count {
                    page.take(some, &self.rows(some).await?, count)?;
                }
            }
        }
        Ok(page)
    }

    /// All pointers of these, and how many do not read.
    async fn pointers_of_buckets(
        &self,
        buckets: std::ops::Range<u16>,
    ) -> Result<(Vec<(ValueDigest, TokenId)>, u64), Fault> {
        let command = |number| {
            let bucket = keys::pointer_bucket(number);
            Command::read(bucket, &[b"HGETALL", &self.nodes.keys().name(bucket, Kind::Pointers)])
        };
        let commands: Vec<_> = buckets.map(command).collect();
        let (mut found, mut damaged) = (Vec::new(), 0);
        for reply in self.nodes.all(&commands).await? {
            for [token, pointer] in reply.list().ok_or_else(garbled)?.as_chunks().0 {
                let token = token.text().and_then(|token| TokenId::try_from(token).ok());
                match pointer.text().and_then(led_to).zip(token) {
                    Some(pair) => found.push(pair),
                    None => damaged += 1,
                }
            }
        }
        Ok((found, damaged))
    }

    /// Has every server write something; that what they promise still holds is asked for beside.
    async fn prove(&self) -> Result<(), Fault> {
        let command = |bucket| {
            let key = self.nodes.keys().name(bucket, Kind::Proof);
            Command { confirm: true, ..Command::read(bucket, &[b"SET", &key, b""]) }
        };
        let commands: Vec<_> = self.nodes.owners().into_iter().map(command).collect();
        self.nodes.all(&commands).await.map(drop)
    }
}

impl Page {
    /// Adds what these tokens lead to, up to `count` entries in all.
    fn take(&mut self, wanted: &[(ValueDigest, TokenId)], rows: &[Reply], count: usize) -> Result<(), Fault> {
        for ((_, token), row) in wanted.iter().zip(rows) {
            if self.entries.len() == count {
                break;
            }
            self.last = Some(*token);
            match read_entry(row) {
                Err(Fault::Damaged) => self.damaged += 1,
                entry => self.entries.extend(entry?),
            }
        }
        Ok(())
    }
}

fn pointers_of(token: &TokenId) -> Bucket {
    keys::pointer_bucket(keys::of_token(token))
}

/// When it was written, the digest, the tag.
fn led_to(pointer: &[u8]) -> Option<ValueDigest> {
    pointer.get(4..)?.first_chunk().copied()
}

/// The token that a put gave; `None`: looking found no row.
fn won(reply: &Reply) -> Result<Option<TokenId>, Fault> {
    match reply {
        Reply::Text(token) => TokenId::try_from(token.as_slice()).map(Some).map_err(|_| Fault::Damaged),
        Reply::Number(0) => Ok(None),
        Reply::Number(1) => Err(Fault::TokenTaken),
        Reply::Number(2) => Err(Fault::Late),
        Reply::Number(3) => Err(Fault::Damaged),
        _ => Err(garbled()),
    }
}

/// Digest, row, further subjects.
fn read_entry(reply: &Reply) -> Result<Option<Entry>, Fault> {
    let (digest, row, more) = match reply {
        Reply::Nothing => return Ok(None),
        Reply::List(parts) => match parts.as_slice() {
            [digest, row, more @ ..] => (digest.text(), row.text(), more),
            _ => return Err(garbled()),
        },
        _ => return Err(garbled()),
    };
    let digest = digest.and_then(|digest| digest.try_into().ok()).ok_or(Fault::Damaged)?;
    let mut entry = row.and_then(|row| row::decode(digest, row)).ok_or(Fault::Damaged)?.entry;
    for subject in more {
        entry.subjects.push(subject.text().and_then(|subject| subject.try_into().ok()).ok_or(Fault::Damaged)?);
    }
    Ok(Some(entry))
}

/// Something else than a script of ours answers.
fn garbled() -> Fault {
    Fault::Settings(
        "an answer does not fit the question: does something else write under the same `vault.redis.prefix`?"
            .to_owned(),
    )
}

fn failed(act: &'static str) -> impl Fn(Fault) -> StoreError {
    move |fault| StoreError { act, away: !fault.is_of_the_question(), cause: fault.into() }
}

impl TokenStore for Redis {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        Box::pin(async {
            check_sizes(entries)?;
            self.put(entries).await.map_err(failed("put_if_absent"))
        })
    }

    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        Box::pin(async { self.find_all(tokens).await.map_err(failed("find")) })
    }

    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move { self.tell(what, most).await.map_err(failed("seek")) })
    }

    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move { self.forget_all(what, most).await.map_err(failed("forget")) })
    }

    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        Box::pin(async move { self.page(after, count).await.map_err(failed("visit")) })
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(async { self.prove().await.map_err(failed("health")) })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}
