//! Finds what is to be forgotten, some at a time, and tells or forgets it.
//!
//! Values, tokens, persons and ends are led to; for the others all rows are looked through on the servers, and a [`Sweep`] remembers how far, so
//! that to forget many, some at a time, is one walk.
//!
//! All is sought first, with what the notice to its partner needs, and then removed. So it is known what was on its way when an answer is lost: it is
//! removed once more, and told, so that no partner's notice lacks it. Start at [`Redis::forget_all`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::super::{Forget, Forgotten, Spelling, TokenId, ValueDigest};
use super::fault::Fault;
use super::keys::{self, Kind, ROW_BUCKETS};
use super::nodes::Command;
use super::scripts::Script;
use super::wire::Reply;
use super::{Redis, garbled};

/// Buckets that are asked at once.
const BUCKETS: u16 = 128;
/// Rows that are asked for at once.
const STEP: usize = 1000;
/// Rows that are looked through in one step on a server: under a millisecond.
const ROWS: &[u8] = b"500";
/// How long after a row was seen to be gone its pointer may be taken away, and how old that must be; see [`super`].
const SEEN_S: i64 = 20;
const AGE_S: &[u8] = b"60";
/// How long a removal whose outcome is not known is tried again: a server that restarts is back by then.
const PERSISTENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A walk that was broken off because it had found enough.
pub(super) struct Sweep {
    what: Forget,
    bucket: u16,
}

/// Where something may be that is to be forgotten.
struct Lead {
    digest: ValueDigest,
    /// Only if it has this token.
    token: Option<TokenId>,
    /// Only if this is in its index.
    led: Vec<u8>,
}

/// What was found.
#[derive(Default)]
struct Sought {
    /// Each token once: where it is, and what is told of it.
    found: BTreeMap<TokenId, (ValueDigest, Forgotten)>,
    /// What does not read, or leads to nothing.
    dead_ends: Vec<Lead>,
    /// As far as it can be read, the token of what does not read.
    unread: BTreeSet<TokenId>,
}

impl Redis {
    /// Forgets up to `most`.
    pub(super) async fn forget_all(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Fault> {
        let mut gone = Vec::new();
        while gone.len() < most {
            let wanted = most - gone.len();
            let sought = self.seek(what, wanted).await?;
            let is_last = sought.found.len() < wanted;
            gone.extend(self.remove(sought).await?);
            if is_last {
                break;
            }
        }
        Ok(gone)
    }

    /// What would be forgotten, up to `most`; what does not read, with its token if that is there.
    pub(super) async fn tell(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Fault> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let sought = self.seek(what, most).await?;
        let unread =
            |token: &TokenId| Forgotten { token: *token, domain: [0; 16], epoch: 0, spelling: Spelling::Opaque };
        let found = sought.found.values().map(|(_, told)| *told);
        Ok(found.chain(sought.unread.iter().map(unread)).take(most).collect())
    }

    /// Finds up to `most`; fewer are all.
    async fn seek(&self, what: &Forget, most: usize) -> Result<Sought, Fault> {
        match what {
            Forget::Values(digests) => {
                let lead = |digest: &ValueDigest| Lead { digest: *digest, token: None, led: Vec::new() };
                self.follow(digests.iter().map(lead), most).await
            }
            Forget::Tokens(tokens) => {
                let pointers = self.pointers(tokens).await?.into_iter().zip(tokens);
                let leads = pointers.filter_map(|(pointer, token)| {
                    Some(Lead { digest: pointer?, token: Some(*token), led: Vec::new() })
                });
                self.follow(leads, most).await
            }
            Forget::Subject(subject) => {
                let range = |end: u8| [b"[s", subject.as_slice(), &[end; 32]].concat();
                self.seek_led(&range(0), &range(255), most).await
            }
            Forget::EndedBefore(time) => {
                let end = [b"(e", time.to_be_bytes().as_slice()].concat();
                self.seek_led(b"[e", &end, most).await
            }
            Forget::Domain(..) | Forget::IssuedBefore(_) => self.sweep(what, most).await,
        }
    }

    /// What is there of these, until `most` were.
    async fn follow(&self, mut leads: impl Iterator<Item = Lead> + Send, most: usize) -> Result<Sought, Fault> {
        let mut sought = Sought::default();
        while sought.found.len() < most {
            let step: Vec<Lead> = leads.by_ref().take((most - sought.found.len()).min(STEP)).collect();
            if step.is_empty() {
                break;
            }
            self.look_at(step, &mut sought).await?;
        }
        Ok(sought)
    }

    /// Adds what is there of these.
    async fn look_at(&self, leads: Vec<Lead>, sought: &mut Sought) -> Result<(), Fault> {
        let command = |lead: &Lead| {
            let token = lead.token.as_ref().map(TokenId::as_slice).unwrap_or_default();
            let arguments: [&[u8]; 3] = [&lead.digest, token, &lead.led];
            self.nodes.call(Script::Seek, keys::of_digest(&lead.digest), &[Kind::Rows, Kind::Index], &arguments)
        };
        let commands: Vec<_> = leads.iter().map(command).collect();
        for (lead, reply) in leads.into_iter().zip(self.nodes.all(&commands).await?) {
            match reply {
                Reply::Text(head) => sought.add(lead.digest, &head)?,
                Reply::List(token) => {
                    let token = token.first().and_then(Reply::text);
                    sought.unread.extend(token.and_then(|token| TokenId::try_from(token).ok()));
                    sought.dead_ends.push(lead);
                }
                // A token or a value that is not kept is no surprise, an index that leads to nothing is one.
                Reply::Nothing if lead.led.is_empty() => {}
                Reply::Nothing => sought.dead_ends.push(lead),
                _ => return Err(garbled()),
            }
        }
        Ok(())
    }

    /// What the index leads to between these, some buckets at a time.
    async fn seek_led(&self, first: &[u8], last: &[u8], most: usize) -> Result<Sought, Fault> {
        let mut sought = Sought::default();
        for begin in (0..ROW_BUCKETS).step_by(usize::from(BUCKETS)) {
            let buckets = begin..(begin + BUCKETS).min(ROW_BUCKETS);
            let mut limit = most - sought.found.len();
            loop {
                let leads = self.led_between(buckets.clone(), (first, last), limit).await?;
                let is_last = leads.len() < limit;
                self.look_at(leads, &mut sought).await?;
                if sought.found.len() >= most {
                    return Ok(sought);
                }
                if is_last {
                    break;
                }
                // Some led to nothing: there may be more behind them. All are looked at again, since others change the index meanwhile.
                limit = limit.saturating_mul(2);
            }
        }
        Ok(sought)
    }

    async fn led_between(
        &self,
        buckets: Range<u16>,
        (first, last): (&[u8], &[u8]),
        most: usize,
    ) -> Result<Vec<Lead>, Fault> {
        let limit = most.to_string();
        let commands: Vec<_> = buckets
            .map(|number| {
                let bucket = keys::row_bucket(number);
                let index = self.nodes.keys().name(bucket, Kind::Index);
                let parts: [&[u8]; 7] = [b"ZRANGEBYLEX", &index, first, last, b"LIMIT", b"0", limit.as_bytes()];
                Command::read(bucket, &parts)
            })
            .collect();
        let mut leads = Vec::new();
        for reply in self.nodes.all(&commands).await? {
            for led in reply.list().ok_or_else(garbled)? {
                let led = led.text().ok_or_else(garbled)?;
                let digest = *led.last_chunk().ok_or(Fault::Damaged)?;
                leads.push(Lead { digest, token: None, led: led.to_vec() });
            }
        }
        leads.truncate(most);
        Ok(leads)
    }

    /// From where the last walk for the same was broken off to the end, and then from the beginning to there: what came in behind it
    /// meanwhile is not left out.
    async fn sweep(&self, what: &Forget, most: usize) -> Result<Sought, Fault> {
        let last = self.sweep.lock().unwrap_or_else(PoisonError::into_inner).take();
        let start = last.filter(|last| last.what == *what).map_or(0, |last| last.bucket);
        let (mut sought, mut damaged) = (Sought::default(), 0);
        for bucket in (start..ROW_BUCKETS).chain(0..start).step_by(usize::from(BUCKETS)) {
            let all = (0..BUCKETS).map(|next| (bucket + next) % ROW_BUCKETS);
            let mut cursors: Vec<(u16, Vec<u8>)> = all.map(|bucket| (bucket, b"0".to_vec())).collect();
            while !cursors.is_empty() && sought.found.len() < most {
                damaged += self.sift(what, &mut cursors, &mut sought).await?;
            }
            if sought.found.len() >= most {
                let sweep = Sweep { what: what.clone(), bucket };
                *self.sweep.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweep);
                break;
            }
        }
        if damaged > 0 {
            tracing::error!(target: "tidegate", damaged, "entries of the vault's store do not read: they were passed over");
        }
        while sought.found.len() > most {
            sought.found.pop_last();
        }
        Ok(sought)
    }

    /// One step through each of these buckets; those that are at their end are left out of the next. Gives how many rows did not read.
    async fn sift(
        &self,
        what: &Forget,
        cursors: &mut Vec<(u16, Vec<u8>)>,
        sought: &mut Sought,
    ) -> Result<usize, Fault> {
        let (mut domain, mut epoch, mut before) = (Vec::new(), Vec::new(), [String::new(), String::new()]);
        match what {
            Forget::Domain(tag, number) => {
                domain.extend(tag);
                epoch.extend(number.iter().flat_map(|number| number.to_be_bytes()));
            }
            Forget::IssuedBefore(time) => before = [(time >> 32).to_string(), (time & 0xffff_ffff).to_string()],
            _ => return Ok(0),
        }
        let [high, low] = before;
        let commands: Vec<_> = cursors
            .iter()
            .map(|(number, cursor)| {
                let arguments: [&[u8]; 6] = [cursor, ROWS, &domain, &epoch, high.as_bytes(), low.as_bytes()];
                self.nodes.call(Script::Sift, keys::row_bucket(*number), &[Kind::Rows], &arguments)
            })
            .collect();
        let (mut damaged, mut next) = (0, Vec::new());
        for ((number, _), reply) in cursors.iter().zip(self.nodes.all(&commands).await?) {
            let Some([cursor, unread, pairs @ ..]) = reply.list() else { return Err(garbled()) };
            let cursor = cursor.text().ok_or_else(garbled)?;
            if cursor != b"0" {
                next.push((*number, cursor.to_vec()));
            }
            damaged += unread.number().and_then(|unread| usize::try_from(unread).ok()).ok_or_else(garbled)?;
            for [digest, head] in pairs.as_chunks().0 {
                let digest = digest.text().and_then(|digest| digest.try_into().ok()).ok_or_else(garbled)?;
                sought.add(digest, head.text().ok_or_else(garbled)?)?;
            }
        }
        *cursors = next;
        Ok(damaged)
    }

    /// Removes these, durably, and gives those that were there; where an answer was lost, all that are gone now. Then their pointers, which
    /// lead to nothing any more.
    async fn remove(&self, sought: Sought) -> Result<Vec<Forgotten>, Fault> {
        self.clear(&sought.dead_ends).await?;
        let command =
            |(token, (digest, _)): (&TokenId, &(ValueDigest, Forgotten))| self.drop_command(digest, token, b"");
        let commands: Vec<_> = sought.found.iter().map(command).collect();
        let (replies, unknown) = self.persist(&commands).await?;
        let (mut gone, mut pointers) = (Vec::new(), Vec::new());
        for ((token, (digest, forgotten)), reply) in sought.found.iter().zip(replies) {
            let Some([was_there, seen]) = reply.list() else { return Err(garbled()) };
            if unknown || was_there.number() == Some(1) {
                gone.push(*forgotten);
            }
            let last = seen.number().ok_or_else(garbled)?.saturating_add(SEEN_S).to_string();
            let arguments: [&[u8]; 4] = [token, digest, last.as_bytes(), AGE_S];
            pointers.push(self.nodes.call(Script::Unpoint, super::pointers_of(token), &[Kind::Pointers], &arguments));
        }
        // What is forgotten is forgotten already: a pointer that stays is no more than some bytes.
        let _ = self.nodes.all(&pointers).await;
        Ok(gone)
    }

    /// Removes what does not read and what leads to nothing, so that it is not found again and again.
    async fn clear(&self, dead_ends: &[Lead]) -> Result<(), Fault> {
        let commands: Vec<_> = dead_ends.iter().map(|lead| self.drop_command(&lead.digest, b"", &lead.led)).collect();
        let (replies, _) = self.persist(&commands).await?;
        let rows = replies.iter().filter_map(|reply| reply.list()?.first()?.number()).filter(|rows| *rows > 0);
        match rows.count() {
            0 => {}
            count => tracing::error!(
                target: "tidegate", count, "entries that are to be forgotten do not read: their rows are removed, and told to nobody"
            ),
        }
        Ok(())
    }

    fn drop_command(&self, digest: &ValueDigest, token: &[u8], led: &[u8]) -> Command {
        self.nodes.call(Script::Drop, keys::of_digest(digest), &[Kind::Rows, Kind::Index], &[digest, token, led])
    }

    /// Has these done however long it takes, within reason; and says whether an answer was lost on the way.
    async fn persist(&self, commands: &[Command]) -> Result<(Vec<Reply>, bool), Fault> {
        let (began, mut unknown) = (Instant::now(), false);
        loop {
            match self.nodes.all_told(commands).await {
                Ok((replies, twice)) => return Ok((replies, unknown || twice)),
                Err(fault) if !fault.leaves_open() || began.elapsed() > PERSISTENCE => return Err(fault),
                Err(_) => unknown = true,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Sought {
    fn add(&mut self, digest: ValueDigest, head: &[u8]) -> Result<(), Fault> {
        let forgotten = read_head(head).ok_or_else(garbled)?;
        self.found.insert(forgotten.token, (digest, forgotten));
        Ok(())
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
