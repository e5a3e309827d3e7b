//! By what a store is known again: a mark of its own under each bucket of rows, written when the store is new, and never changed.
//!
//! A server that comes back without what it kept, a node of a cluster that does, and another server in its place would give new tokens for values that partners
//! hold tokens of, and nobody would notice. They lack the mark, or have another one: looked for on each new connection, and each second while
//! one is in use. Under every bucket, so that slots may be moved, and each node is seen to have its own.
//!
//! The mark under the first bucket is written first, as one that is not finished, and finished when all others are there: whoever finds
//! it so finishes it. So one that is finished where another is missing says that something was lost. Start at [`establish`].

use std::sync::OnceLock;

use data_encoding::HEXLOWER;

use super::fault::{Fault, Unfit};
use super::keys::{self, Bucket, Keys, Kind, ROW_BUCKETS};
use super::nodes::{Command, Nodes};
use super::proof;
use super::settings::Address;
use super::wire::{self, Reply};

/// The form of all that is kept; another one is another program's.
const FORM: &str = "1 ";
/// Behind a mark that is not finished.
const UNFINISHED: &str = " making";

/// The mark, once it is known.
#[derive(Debug)]
pub(super) struct Mark {
    keys: Keys,
    known: OnceLock<String>,
}

impl Mark {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, known: OnceLock::new() }
    }

    /// Asks for the one of a bucket.
    pub(super) fn question(&self, out: &mut Vec<u8>, bucket: Bucket) {
        wire::push(out, &[b"GET", &self.keys.name(bucket, Kind::Mark)]);
    }

    /// Why a server that answers so is not the one that kept what we know of.
    pub(super) fn judge(&self, node: &Address, answer: &Reply) -> Result<Option<Unfit>, Fault> {
        match (self.known.get(), answer) {
            (Some(known), Reply::Text(found)) => Ok((read(found)?.0 != known).then_some(Unfit::OtherVault)),
            (Some(_), Reply::Nothing) => Ok(Some(Unfit::Emptied)),
            (_, Reply::Refused { code, .. }) if code == "NOPERM" => Err(proof::refusal(node, code)),
            // Not known yet; or it says by itself what it lacks: the slot, the rest of the cluster, time.
            _ => Ok(None),
        }
    }
}

/// Finds the mark, or makes one where there is nothing; gives it. `expected`: what it was the last time, as far as is known.
pub(super) async fn establish<'n>(nodes: &'n Nodes, expected: Option<&str>) -> Result<&'n str, Fault> {
    let (mark, node) = nodes.mark();
    let lost = |unfit| Err(Fault::Unfit { node: node.clone(), unfit });
    // Twice at most, unless many begin at the same time.
    for _ in 0..10 {
        let first = get(nodes, 0..1).await?.pop().flatten();
        let Some((id, is_finished)) = first else {
            if expected.is_some() {
                return lost(Unfit::Emptied);
            }
            let others = get(nodes, 1..ROW_BUCKETS).await?;
            let is_there = get(nodes, 0..1).await?.iter().any(Option::is_some);
            if !is_there && others.iter().any(Option::is_some) {
                return lost(Unfit::Emptied);
            }
            if !is_there {
                begin(nodes).await?;
            }
            continue;
        };
        if expected.is_some_and(|expected| expected != id) {
            return lost(Unfit::OtherVault);
        }
        if !is_finished {
            put(nodes, 1..ROW_BUCKETS, &id, true).await?;
        }
        let others = get(nodes, 1..ROW_BUCKETS).await?;
        if others.iter().any(|other| other.as_ref().is_some_and(|(other, _)| *other != id)) {
            return lost(Unfit::OtherVault);
        }
        if others.iter().any(Option::is_none) {
            return lost(Unfit::Emptied);
        }
        if !is_finished {
            put(nodes, 0..1, &id, false).await?;
        }
        return Ok(mark.known.get_or_init(|| id));
    }
    Err(Fault::Late)
}

/// Writes a new one under the first bucket, unless somebody else did.
async fn begin(nodes: &Nodes) -> Result<(), Fault> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Fault::Settings("the system has no random numbers".to_owned()))?;
    put(nodes, 0..1, &format!("{}{UNFINISHED}", HEXLOWER.encode(&random)), true).await
}

/// Writes it under these buckets, durably. `new`: where there is none.
async fn put(nodes: &Nodes, buckets: std::ops::Range<u16>, id: &str, new: bool) -> Result<(), Fault> {
    let text = format!("{FORM}{id}");
    let command = |number| {
        let bucket = keys::row_bucket(number);
        let key = nodes.keys().name(bucket, Kind::Mark);
        let parts: [&[u8]; 4] = [b"SET", &key, text.as_bytes(), b"NX"];
        let used = if new { parts.as_slice() } else { parts.get(..3).unwrap_or_default() };
        Command { confirm: true, ..Command::read(bucket, used) }
    };
    nodes.all(&buckets.map(command).collect::<Vec<_>>()).await.map(drop)
}

/// The marks under these buckets, and whether each is finished.
async fn get(nodes: &Nodes, buckets: std::ops::Range<u16>) -> Result<Vec<Option<(String, bool)>>, Fault> {
    let command = |number| {
        let bucket = keys::row_bucket(number);
        Command::read(bucket, &[b"GET", &nodes.keys().name(bucket, Kind::Mark)])
    };
    let replies = nodes.all(&buckets.map(command).collect::<Vec<_>>()).await?;
    let read = |reply: Reply| match reply {
        Reply::Nothing => Ok(None),
        Reply::Text(text) => read(&text).map(|(id, is_finished)| Some((id.to_owned(), is_finished))),
        _ => Err(super::garbled()),
    };
    replies.into_iter().map(read).collect()
}

fn read(text: &[u8]) -> Result<(&str, bool), Fault> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.strip_prefix(FORM));
    let text = text.ok_or_else(|| {
        Fault::Settings(
            "what is kept there has a form that this program does not know: a newer program made it, run that one"
                .to_owned(),
        )
    })?;
    Ok(text.strip_suffix(UNFINISHED).map_or((text, true), |id| (id, false)))
}
