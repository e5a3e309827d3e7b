//! AES-SIV (RFC 5297) with a 512-bit key: deterministic and misuse-resistant.
//!
//! Why not the `aes-siv` crate, which wraps the domain secrets: it expands a key and runs over the bound context anew for each
//! value. Here keys are expanded once, and the part of S2V that covers the context is computed once, when the policy is
//! loaded; what is left for a value of one block is four calls of AES. The two are held against each other in the tests.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::block::{self, Aes256, BLOCK_LEN, Block, xor};

/// Bytes of a key: one half for the tag, one for the keystream.
pub const KEY_LEN: usize = 2 * block::KEY_LEN;
/// Bytes of a tag, which is also the initial counter.
pub const TAG_LEN: usize = BLOCK_LEN;

/// A key bound to a context. `&self` throughout: any thread may use it without a lock. Wiped when dropped.
pub struct Siv {
    mac: Aes256,
    keystream: Aes256,
    // INVARIANT: these are derived from the key and as secret as it is.
    /// For a last block that is whole.
    whole: Block,
    /// For a last block that was padded.
    short: Block,
    after_context: Block,
}

impl Siv {
    /// Binds `key` to `context`, a list of at most 126 byte strings (RFC 5297, section 2.6), which both sides have to name
    /// alike.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN], context: &[&[u8]]) -> Self {
        let [mac, keystream] = block::halves(key);
        let (mac, keystream) = (Aes256::new(mac), Aes256::new(keystream));
        let mut zeros = Block::default();
        mac.encrypt(&mut zeros);
        let whole = double(zeros);
        let mut siv = Self { mac, keystream, whole, short: double(whole), after_context: Block::default() };
        siv.after_context = siv.cmac(&Block::default());
        for part in context {
            siv.after_context = xor(double(siv.after_context), siv.cmac(part));
        }
        siv
    }

    /// Encrypts in place; gives the tag.
    #[must_use]
    pub fn seal(&self, text: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.tag(text);
        self.apply_keystream(tag, text);
        tag
    }

    /// Decrypts in place and tells whether it is authentic. If it is not, `text` is zeros: nobody can use by mistake what was
    /// not authentic.
    #[must_use]
    pub fn open(&self, tag: &[u8; TAG_LEN], text: &mut [u8]) -> bool {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        self.apply_keystream(*tag, text);
        let authentic = bool::from(self.tag(text).ct_eq(tag));
        if !authentic {
            text.zeroize();
        }
        authentic
    }

    /// Does the work of [`Self::open`] on one block, for nothing.
    pub fn idle(&self) {
        let authentic = self.open(&[0; TAG_LEN], &mut [0; BLOCK_LEN]);
        std::hint::black_box(authentic);
    }

    /// S2V (RFC 5297, section 2.4) of the context and `text`.
    fn tag(&self, text: &[u8]) -> Block {
        let Some((head, last)) = text.split_last_chunk::<BLOCK_LEN>() else {
            return self.chain([&[], &[]], xor(double(self.after_context), padded(text)), self.whole);
        };
        let folded = xor(*last, self.after_context);
        let (blocks, rest) = head.as_chunks();
        if rest.is_empty() {
            // Our own values are padded to blocks and come this way.
            return self.chain([blocks, &[]], folded, self.whole);
        }
        // The last 16 bytes, which the context is folded into, lie across two blocks.
        let mut across = [0; 2 * BLOCK_LEN];
        for (slot, byte) in across.iter_mut().zip(rest.iter().chain(&folded)) {
            *slot = *byte;
        }
        let (first, second) = across.split_at(BLOCK_LEN);
        let last = padded(second.get(..rest.len()).unwrap_or_default());
        let tag = self.chain([blocks, first.as_chunks().0], last, self.short);
        across.zeroize();
        tag
    }

    /// CMAC (NIST SP 800-38B, RFC 4493).
    fn cmac(&self, text: &[u8]) -> Block {
        let (blocks, last) = text.split_at(text.len().saturating_sub(1) / BLOCK_LEN * BLOCK_LEN);
        match last.first_chunk::<BLOCK_LEN>() {
            Some(last) => self.chain([blocks.as_chunks().0, &[]], *last, self.whole),
            None => self.chain([blocks.as_chunks().0, &[]], padded(last), self.short),
        }
    }

    /// The chain of CMAC over blocks and a last one, with the subkey for that one.
    fn chain(&self, runs: [&[Block]; 2], last: Block, subkey: Block) -> Block {
        let state = runs.into_iter().fold(Block::default(), |state, run| self.mac.chain(state, run));
        self.mac.chain(state, &[xor(last, subkey)])
    }

    /// CTR with the tag as the first counter, two bits of it cleared (RFC 5297, section 2.5).
    fn apply_keystream(&self, tag: Block, text: &mut [u8]) {
        let counter = u128::from_be_bytes(tag) & !((1 << 63) | (1 << 31));
        self.keystream.stream(counter.to_be_bytes(), text);
    }
}

#[cfg(test)]
thread_local! {
    /// How often a test's thread has opened something.
    pub(in crate::vault) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl fmt::Debug for Siv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Siv([secret])")
    }
}

impl Drop for Siv {
    fn drop(&mut self) {
        // The two ciphers wipe themselves.
        self.whole.zeroize();
        self.short.zeroize();
        self.after_context.zeroize();
    }
}

impl ZeroizeOnDrop for Siv {}

/// Doubling in the field of CMAC, without a branch on the secret bit.
fn double(block: Block) -> Block {
    let block = u128::from_be_bytes(block);
    ((block << 1) ^ (0x87 & (block >> 127).wrapping_neg())).to_be_bytes()
}

/// Under a block of text, then a one bit and zeros.
fn padded(text: &[u8]) -> Block {
    let mut block = [0; BLOCK_LEN];
    for (slot, byte) in block.iter_mut().zip(text.iter().chain(&[0x80])) {
        *slot = *byte;
    }
    block
}
