//! An entry as bytes, for stores that keep bytes. The token is not in them: it is the key under which they are kept.
//!
//! The first byte says the form, so that a later one can be told from this. Start at [`encode`] and [`decode`].

use super::{Entry, Spelling, TokenId};

/// The form that [`encode`] writes.
const FORM: u8 = 1;
/// Bit of the flags: it ends.
const ENDS: u8 = 1;
/// Bit of the flags: more subjects are kept elsewhere.
const SPILT: u8 = 2;
/// Everything in front of subjects and sealed value, but for when it ends.
const HEAD: usize = 1 + 1 + 1 + 32 + 16 + 4 + 8;
/// Subjects that fit into the bytes.
const SUBJECTS_MAX: usize = u16::MAX as usize;

/// What [`decode`] read.
pub(in crate::vault) struct Row {
    pub(in crate::vault) entry: Entry,
    /// Not all subjects are in it.
    pub(in crate::vault) spilt: bool,
}

/// The bytes of an entry. `spilt` says that not all of its subjects are among them.
pub(in crate::vault) fn encode(entry: &Entry, spilt: bool) -> Vec<u8> {
    let subjects = entry.subjects.get(..SUBJECTS_MAX).unwrap_or(&entry.subjects);
    let mut row = Vec::with_capacity(HEAD + 10 + 16 * subjects.len() + entry.sealed.len());
    let ends = if entry.ends_ms.is_some() { ENDS } else { 0 };
    row.extend([FORM, ends | if spilt { SPILT } else { 0 }, entry.spelling.code()]);
    row.extend(entry.digest);
    row.extend(entry.domain);
    row.extend(entry.epoch.to_be_bytes());
    row.extend(entry.issued_ms.to_be_bytes());
    row.extend(entry.ends_ms.into_iter().flat_map(u64::to_be_bytes));
    row.extend(u16::try_from(subjects.len()).unwrap_or(u16::MAX).to_be_bytes());
    row.extend(subjects.as_flattened());
    row.extend(&entry.sealed);
    row
}

/// The entry of a token from its bytes; `None` if [`encode`] did not make them.
pub(in crate::vault) fn decode(token: TokenId, row: &[u8]) -> Option<Row> {
    let (&[form, flags, spelling], rest) = row.split_first_chunk()?;
    if form != FORM || flags & !(ENDS | SPILT) != 0 {
        return None;
    }
    let (digest, rest) = rest.split_first_chunk()?;
    let (domain, rest) = rest.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (issued, mut rest) = rest.split_first_chunk()?;
    let mut ends_ms = None;
    if flags & ENDS != 0 {
        let (ends, behind) = rest.split_first_chunk()?;
        (ends_ms, rest) = (Some(u64::from_be_bytes(*ends)), behind);
    }
    let (count, rest) = rest.split_first_chunk()?;
    let (subjects, sealed) = rest.split_at_checked(16 * usize::from(u16::from_be_bytes(*count)))?;
    let entry = Entry {
        digest: *digest,
        token,
        domain: *domain,
        epoch: u32::from_be_bytes(*epoch),
        spelling: Spelling::from_code(spelling)?,
        sealed: sealed.to_vec(),
        subjects: subjects.as_chunks().0.to_vec(),
        issued_ms: u64::from_be_bytes(*issued),
        ends_ms,
    };
    Some(Row { entry, spilt: flags & SPILT != 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(
            digest: [u8; 32], token: [u8; 16], domain: [u8; 16], epoch: u32, code in 0_u8..3, sealed: Vec<u8>,
            subjects: Vec<[u8; 16]>, issued_ms: u64, ends_ms: Option<u64>, spilt: bool,
        ) {
            let spelling = Spelling::from_code(code).unwrap();
            let entry = Entry { digest, token, domain, epoch, spelling, sealed, subjects, issued_ms, ends_ms };
            let row = encode(&entry, spilt);
            let read = decode(token, &row).unwrap();
            prop_assert!(read.entry == entry && read.spilt == spilt);
            let head = row.len() - entry.sealed.len();
            prop_assert!((0..head).all(|cut| decode(token, &row[..cut]).is_none()), "what is cut short is not read");
        }

        #[test]
        fn other_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = decode([0; 16], &bytes);
        }
    }

    #[test]
    fn a_row_of_a_later_form_is_not_taken_for_this_one() {
        let entry = Entry {
            digest: [1; 32],
            token: [2; 16],
            domain: [3; 16],
            epoch: 4,
            spelling: Spelling::Uuid,
            sealed: vec![5; 6],
            subjects: vec![],
            issued_ms: 7,
            ends_ms: None,
        };
        let row = encode(&entry, false);
        for (at, byte) in [(0, FORM + 1), (1, 4), (2, 9)] {
            let mut other = row.clone();
            other[at] = byte;
            assert!(decode([2; 16], &other).is_none(), "{at}");
        }
    }
}
