//! Who has which slot: told by one of the servers, and corrected slot by slot when others say so. Start at [`find_places`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::connection::Connection;
use super::fault::{Fault, Unfit};
use super::keys::{self, Bucket, ROW_BUCKETS, SLOTS};
use super::mark::Mark;
use super::proof::{self, Server};
use super::scripts::Shas;
use super::settings::{Address, Settings};
use super::wire::{self, Reply};

/// Who has which slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// One server has all.
    One(Address),
    /// The last slot of each range, and whose it is. A slot that is in no range is nobody's.
    Many(BTreeMap<u16, (u16, Address)>),
}

/// What one of the servers told.
pub(super) struct Found {
    /// It.
    pub(super) first: Address,
    pub(super) places: Places,
    /// The most that one of them has.
    pub(super) replicas: u32,
    pub(super) shas: Shas,
}

/// Asks the servers, until one tells.
pub(super) async fn find_places(settings: &Arc<Settings>, mark: &Arc<Mark>, known: &[Address]) -> Result<Found, Fault> {
    let mut fault = Fault::Settings("no server is named".to_owned());
    for address in known {
        match ask_for_places(settings, mark, address).await {
            Ok(found) => return Ok(found),
            // What mends itself says less than what does not.
            Err(found) if fault.passes() || matches!(fault, Fault::Settings(_)) => fault = found,
            Err(_) => {}
        }
    }
    Err(fault)
}

async fn ask_for_places(settings: &Arc<Settings>, mark: &Arc<Mark>, address: &Address) -> Result<Found, Fault> {
    let (connection, Server { clustered, unfit, replicas }, shas) =
        Connection::open(address, settings, mark, keys::row_bucket(0)).await?;
    match unfit {
        // Of a cluster, a replica knows as well as any.
        Some(Unfit::Replica) if clustered => {}
        Some(unfit) => return Err(Fault::Unfit { node: address.clone(), unfit }),
        None => {}
    }
    if !clustered {
        return Ok(Found { first: address.clone(), places: Places::One(address.clone()), replicas, shas });
    }
    let mut frame = Vec::new();
    wire::push(&mut frame, &[b"CLUSTER", b"SLOTS"]);
    let replies = connection.ask(frame, 1, false).await?;
    let ranges = match replies.first() {
        Some(Reply::List(ranges)) => ranges,
        Some(Reply::Refused { code, .. }) => return Err(proof::refusal(address, code)),
        _ => return Err(Fault::Garbled { node: address.clone() }),
    };
    // Of each range: first and last slot, its primary, its replicas.
    let nodes = ranges.iter().filter_map(Reply::list).map(<[Reply]>::len).max().unwrap_or(0);
    let ranges = ranges.iter().map(|range| read_range(address, range)).collect::<Option<_>>();
    let places = Places::Many(ranges.ok_or_else(|| Fault::Garbled { node: address.clone() })?);
    Ok(Found { first: address.clone(), places, replicas: u32::try_from(nodes.saturating_sub(3)).unwrap_or(0), shas })
}

/// First and last slot, then the primary: its host, which may be left to us, and its port.
fn read_range(asked: &Address, range: &Reply) -> Option<(u16, (u16, Address))> {
    let [first, last, primary, ..] = range.list()? else { return None };
    let [host, port, ..] = primary.list()? else { return None };
    let host = match host.text() {
        Some(host) if !host.is_empty() && host != b"?" => std::str::from_utf8(host).ok()?.to_owned(),
        _ => asked.host.clone(),
    };
    let slot = |reply: &Reply| u16::try_from(reply.number()?).ok().filter(|slot| *slot < SLOTS);
    Some((slot(last)?, (slot(first)?, Address { host, port: u16::try_from(port.number()?).ok()? })))
}

/// Gives one slot to somebody, out of whatever range it is in.
fn assign(ranges: &mut BTreeMap<u16, (u16, Address)>, slot: u16, to: &Address) {
    let found = ranges.range(slot..).next().map(|(last, (first, owner))| (*last, *first, owner.clone()));
    if let Some((last, first, owner)) = found.filter(|(_, first, _)| *first <= slot) {
        ranges.remove(&last);
        if first < slot {
            ranges.insert(slot - 1, (first, owner.clone()));
        }
        if slot < last {
            ranges.insert(last, (slot + 1, owner));
        }
    }
    ranges.insert(slot, (slot, to.clone()));
}

/// Where it was sent on to; without a host it is the one that said so.
pub(super) fn elsewhere(node: &Address, to: &str) -> Option<Address> {
    let to = Address::parse(to)?;
    Some(if to.host.is_empty() || to.host == "?" { Address { host: node.host.clone(), ..to } } else { to })
}

impl Places {
    /// Who has it.
    pub(super) fn of(&self, slot: u16) -> Option<&Address> {
        match self {
            Self::One(address) => Some(address),
            Self::Many(ranges) => {
                let (_, (first, address)) = ranges.range(slot..).next()?;
                (*first <= slot).then_some(address)
            }
        }
    }

    /// A bucket of rows that is somebody's, by which it is known again.
    pub(super) fn own(&self, address: &Address) -> Bucket {
        let is_own = |bucket: &Bucket| self.of(bucket.slot) == Some(address);
        (0..ROW_BUCKETS).map(keys::row_bucket).find(is_own).unwrap_or(keys::row_bucket(0))
    }

    /// A slot is elsewhere now.
    pub(super) fn moved(&mut self, slot: u16, to: &Address) {
        if let Self::Many(ranges) = self {
            assign(ranges, slot, to);
        }
    }

    /// Everybody who has a slot.
    pub(super) fn all(&self) -> Vec<Address> {
        let mut all = match self {
            Self::One(address) => vec![address.clone()],
            Self::Many(ranges) => ranges.values().map(|(_, address)| address.clone()).collect(),
        };
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    #[test]
    fn a_slot_that_moves_leaves_the_others_where_they_are() {
        let mut ranges = BTreeMap::from([(99, (0, address(1))), (200, (100, address(2)))]);
        for (slot, port) in [(50, 3), (0, 4), (99, 5), (100, 1), (300, 6), (50, 1)] {
            assign(&mut ranges, slot, &address(port));
        }
        let places = Places::Many(ranges);
        let check = |slot, port: Option<u16>| assert_eq!(places.of(slot), port.map(address).as_ref(), "{slot}");
        for (slot, port) in
            [(0, 4), (1, 1), (49, 1), (50, 1), (51, 1), (98, 1), (99, 5), (100, 1), (101, 2), (200, 2), (300, 6)]
        {
            check(slot, Some(port));
        }
        check(201, None);
        check(301, None);
        assert_eq!(places.all(), [1, 2, 4, 5, 6].map(address));
    }

    #[test]
    fn where_to_is_read_with_and_without_a_host() {
        let check =
            |to: &str, host: &str| assert_eq!(elsewhere(&address(1), to), Some(Address { host: host.into(), port: 7 }));
        check("x.internal:7", "x.internal");
        check("[::1]:7", "::1");
        check("::1:7", "::1");
        check(":7", "h");
        check("?:7", "h");
        assert_eq!(elsewhere(&address(1), "x"), None);
    }
}
