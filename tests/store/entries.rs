//! Entries for tests: each number has its own, the same in every process.

use std::sync::Arc;

use tidegate::vault::store::{Entry, Spelling, TokenId, TokenStore, ValueDigest};

/// Bytes that a number leads to, different for each `salt`.
fn bytes<const N: usize>(number: u64, salt: u64) -> [u8; N] {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut out = [0; N];
    for chunk in out.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
    }
    out
}

/// Of the value with this number.
pub(crate) fn digest(number: u64) -> ValueDigest {
    bytes(number, 1)
}

/// One of the tokens that the value with this number may get.
pub(crate) fn token(number: u64, variant: u64) -> TokenId {
    bytes(number, 2 + variant)
}

/// A person.
pub(crate) fn subject(number: u64) -> [u8; 16] {
    bytes(number, 1000)
}

/// The entry that a number stands for, as the first to come would put it: of domain 0, issued at `number`.
pub(crate) fn entry(number: u64) -> Entry {
    Entry {
        digest: digest(number),
        token: token(number, 0),
        domain: [0; 16],
        epoch: 1,
        spelling: Spelling::Opaque,
        sealed: bytes::<60>(number, 999).to_vec(),
        subjects: vec![],
        issued_ms: number,
        ends_ms: None,
    }
}

/// The same value with another token.
pub(crate) fn rival(number: u64, variant: u64) -> Entry {
    Entry { token: token(number, variant), ..entry(number) }
}

/// Everything that is kept, page by page.
pub(crate) async fn all(store: &Arc<dyn TokenStore>, page: usize) -> Vec<Entry> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let found = store.visit(after, page).await.unwrap();
        if found.last.is_none() {
            return all;
        }
        assert!(found.entries.len() <= page && found.damaged == 0);
        after = found.last;
        all.extend(found.entries);
    }
}

/// A number from the environment.
pub(crate) fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// How many entries read, and how many do not, page by page of one each.
pub(crate) async fn read(store: &Arc<dyn TokenStore>) -> (usize, u64) {
    let (mut read, mut damaged, mut after) = (0, 0, None);
    loop {
        let page = store.visit(after, 1).await.unwrap();
        (read, damaged) = (read + page.entries.len(), damaged + page.damaged);
        let Some(last) = page.last else { return (read, damaged) };
        after = Some(last);
    }
}
