//! Under which keys of the server what is kept: buckets, spread evenly over the slots of a cluster.
//!
//! | key | kind | holds |
//! |---|---|---|
//! | `tidegate:{N}r` | hash | digest of a value → its row |
//! | `tidegate:{N}i` | sorted set, all of score 0 | `s`, subject, digest: leads from a person; `e`, end, digest: from a time; `m`, digest, subject: subjects that are not in the row |
//! | `tidegate:{N}t` | hash | token → when the pointer was written, digest, N of its row |
//! | `tidegate:{N}p` | text | nothing: written to see that it can be |
//! | `tidegate:{N}m` | text | the form of all this, and the mark of the store |
//!
//! Rows are in a bucket by the first bits of the digest, with all that leads to them, so that a row is changed with its index at once;
//! pointers are in a bucket by the first bits of the token, so that a visit in the order of tokens reads some buckets. What is in braces
//! chooses the slot: N is the least number that leads to the one that the bucket is to have. All of this is for good: another
//! way to choose would find nothing of what is kept. Start at [`Keys`].

use super::super::{TokenId, ValueDigest};
use std::sync::LazyLock;

/// Buckets of rows.
pub(super) const ROW_BUCKETS: u16 = 1024;
/// Buckets of pointers.
pub(super) const POINTER_BUCKETS: u16 = 4096;
/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16384;

/// What stands in the braces, for each bucket of pointers. Those of rows are some of these.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let (mut tags, mut found) = (vec![None; usize::from(POINTER_BUCKETS)], 0);
    for number in 0.. {
        let slot = slot_of(number.to_string().as_bytes());
        let (bucket, rest) = (slot / (SLOTS / POINTER_BUCKETS), slot % (SLOTS / POINTER_BUCKETS));
        if rest == 0
            && let Some(tag @ None) = tags.get_mut(usize::from(bucket))
        {
            *tag = Some(number);
            found += 1;
        }
        if found == POINTER_BUCKETS {
            break;
        }
    }
    tags.into_iter().flatten().collect()
});

/// The keys of one store.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// A bucket of rows or of pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) slot: u16,
    pub(super) tag: u32,
}

/// Which key of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rows,
    Index,
    Pointers,
    Proof,
    Mark,
}

impl Keys {
    /// That begin like this.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}:") }
    }

    /// What is before the braces.
    pub(super) fn prefix(&self) -> &[u8] {
        self.prefix.as_bytes()
    }

    pub(super) fn name(&self, bucket: Bucket, kind: Kind) -> Vec<u8> {
        let kind = match kind {
            Kind::Rows => 'r',
            Kind::Index => 'i',
            Kind::Pointers => 't',
            Kind::Proof => 'p',
            Kind::Mark => 'm',
        };
        format!("{}{{{}}}{kind}", self.prefix, bucket.tag).into_bytes()
    }
}

/// Where the row of a value is.
pub(super) fn of_digest(digest: &ValueDigest) -> Bucket {
    row_bucket(leading(digest) >> 6)
}

/// Where the pointer of a token is: the number of the bucket, in the order of tokens.
pub(super) fn of_token(token: &TokenId) -> u16 {
    leading(token) >> 4
}

/// The bucket of rows with this number.
pub(super) fn row_bucket(number: u16) -> Bucket {
    pointer_bucket(number * (POINTER_BUCKETS / ROW_BUCKETS))
}

/// The bucket of pointers with this number.
pub(super) fn pointer_bucket(number: u16) -> Bucket {
    let tag = TAGS.get(usize::from(number)).copied().unwrap_or_default();
    Bucket { slot: number * (SLOTS / POINTER_BUCKETS), tag }
}

fn leading(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// The slot that a text in braces leads to: CRC-16/XMODEM, as clusters have it.
pub(super) fn slot_of(text: &[u8]) -> u16 {
    let step = |mut crc: u16, byte: &u8| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
        crc
    };
    text.iter().fold(0, step) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_cluster() {
        // From the specification of Redis Cluster, and from `CLUSTER KEYSLOT`.
        assert_eq!((slot_of(b"123456789"), slot_of(b"foo"), slot_of(b"")), (0x31c3 % SLOTS, 12182, 0));
    }

    #[test]
    fn each_bucket_has_the_slot_that_its_key_leads_to_and_they_are_spread_evenly() {
        for number in 0..POINTER_BUCKETS {
            let bucket = pointer_bucket(number);
            assert_eq!((slot_of(bucket.tag.to_string().as_bytes()), bucket.slot), (4 * number, 4 * number));
        }
        let slots: Vec<_> = (0..ROW_BUCKETS).map(|number| row_bucket(number).slot).collect();
        assert!(slots.iter().zip(0..).all(|(slot, number)| *slot == 16 * number));
    }

    #[test]
    fn buckets_are_where_they_have_always_been() {
        let tags = [0, 1, 2047, 4095].map(|number| pointer_bucket(number).tag);
        assert_eq!(tags, [3560, 4569, 7038, 9023]);
        let mut digest = [0; 32];
        (digest[0], digest[1]) = (0x80, 0x40);
        assert_eq!(of_digest(&digest), row_bucket(513));
        let mut token = [0; 16];
        (token[0], token[1]) = (0x80, 0x10);
        assert_eq!(of_token(&token), 2049);
        let keys = Keys::new("tidegate");
        assert_eq!(keys.name(row_bucket(0), Kind::Rows), b"tidegate:{3560}r");
        assert_eq!(keys.name(row_bucket(0), Kind::Index), b"tidegate:{3560}i");
        assert_eq!(keys.name(pointer_bucket(4095), Kind::Pointers), b"tidegate:{9023}t");
    }
}
