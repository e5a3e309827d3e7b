//! A row as it is kept under the digest of its value: as [`super::super::row`] has it under the token, with the token in the digest's place.

use super::super::row::{self, Row};
use super::super::{Entry, TokenId, ValueDigest};

/// Form, flags and spelling.
const HEAD: usize = 3;

/// The bytes of an entry without its subjects: those are added where it is kept.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let bare = Entry { subjects: Vec::new(), ..entry.clone() };
    let row = row::encode(&bare, false);
    let (head, rest) = row.split_at_checked(HEAD).unwrap_or_default();
    let rest = rest.get(entry.digest.len()..).unwrap_or_default();
    [head, &entry.token, rest].concat()
}

/// From its bytes; `None` if [`encode`] did not make them.
pub(super) fn decode(digest: ValueDigest, bytes: &[u8]) -> Option<Row> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (token, rest) = rest.split_first_chunk::<16>()?;
    row::decode(TokenId::from(*token), &[head, &digest, rest].concat())
}
