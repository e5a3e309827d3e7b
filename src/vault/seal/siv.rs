//! AES-SIV (RFC 5297) with a 512-bit key: deterministic and misuse-resistant.
//!
//! Why not the `aes-siv` crate, which wraps the domain secrets: it expands a key and runs over the bound context anew for each
//! value. Here keys are expanded once, and the part of S2V that covers the context is computed once, when the policy is
//! loaded; what is left for a value of one block is four calls of AES. The two are held against each other in the tests.

use std::fmt;

use aes::Aes256;
use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a key: one half for the tag, one for the keystream.
pub const KEY_LEN: usize = 64;
/// Bytes of a tag, which is also the initial counter.
pub const TAG_LEN: usize = 16;
/// Bytes of a block of AES.
pub const BLOCK_LEN: usize = 16;

/// Blocks of keystream that are made at a time: of a value of 127 bytes at once.
const STREAM_BLOCKS: usize = 8;

type Block = [u8; BLOCK_LEN];

/// A key bound to a context. `&self` throughout: any thread may use it without a lock. Wiped when dropped.
pub struct Siv {
    mac: Aes256,
    keystream: Aes256,
    // INVARIANT: `subkey` and `after_context` are derived from the key and as secret as it is.
    subkey: u128,
    after_context: u128,
}

impl Siv {
    /// Binds `key` to `context`, a list of at most 126 byte strings (RFC 5297, section 2.6), which both sides have to name
    /// alike.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN], context: &[&[u8]]) -> Self {
        let (mac, keystream) = key.split_at(KEY_LEN / 2);
        let mac = Aes256::new(&Array::from_fn(|i| mac.get(i).copied().unwrap_or_default()));
        let keystream = Aes256::new(&Array::from_fn(|i| keystream.get(i).copied().unwrap_or_default()));
        let subkey = double(encrypt(&mac, 0));
        let mut siv = Self { mac, keystream, subkey, after_context: 0 };
        siv.after_context = siv.cmac(&[0; BLOCK_LEN]);
        for part in context {
            siv.after_context = double(siv.after_context) ^ siv.cmac(part);
        }
        siv
    }

    /// Encrypts in place; gives the tag.
    #[must_use]
    pub fn seal(&self, text: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.tag(text);
        self.apply_keystream(tag, text);
        tag.to_be_bytes()
    }

    /// Decrypts in place and tells whether it is authentic. If it is not, `text` is zeros: nobody can use by mistake what was
    /// not authentic.
    #[must_use]
    pub fn open(&self, tag: &[u8; TAG_LEN], text: &mut [u8]) -> bool {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        self.apply_keystream(u128::from_be_bytes(*tag), text);
        let authentic = bool::from(self.tag(text).to_be_bytes().ct_eq(tag));
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
    fn tag(&self, text: &[u8]) -> u128 {
        let Some((head, last)) = text.split_last_chunk::<BLOCK_LEN>() else {
            return self.chain([&[], &[]], double(self.after_context) ^ padded(text), true);
        };
        let folded = u128::from_be_bytes(*last) ^ self.after_context;
        let (blocks, rest) = head.as_chunks();
        if rest.is_empty() {
            // Our own values are padded to blocks and come this way.
            return self.chain([blocks, &[]], folded, true);
        }
        // The last 16 bytes, which the context is folded into, lie across two blocks.
        let mut across = [0; 2 * BLOCK_LEN];
        for (slot, byte) in across.iter_mut().zip(rest.iter().chain(&folded.to_be_bytes())) {
            *slot = *byte;
        }
        let (first, second) = across.split_at(BLOCK_LEN);
        let last = padded(second.get(..rest.len()).unwrap_or_default());
        let tag = self.chain([blocks, first.as_chunks().0], last, false);
        across.zeroize();
        tag
    }

    /// CMAC (NIST SP 800-38B, RFC 4493).
    fn cmac(&self, text: &[u8]) -> u128 {
        let (blocks, last) = text.split_at(text.len().saturating_sub(1) / BLOCK_LEN * BLOCK_LEN);
        match last.first_chunk::<BLOCK_LEN>() {
            Some(last) => self.chain([blocks.as_chunks().0, &[]], u128::from_be_bytes(*last), true),
            None => self.chain([blocks.as_chunks().0, &[]], padded(last), false),
        }
    }

    /// The chain of CMAC over blocks and a last one; `whole`: that one was not padded.
    fn chain(&self, runs: [&[Block]; 2], last: u128, whole: bool) -> u128 {
        let last = last ^ if whole { self.subkey } else { double(self.subkey) };
        let mut state = Array::default();
        self.mac.encrypt_with_backend(Chain { runs, last: last.to_be_bytes(), state: &mut state });
        u128::from_be_bytes(state.into())
    }

    /// CTR with the tag as the first counter, two bits of it cleared (RFC 5297, section 2.5).
    fn apply_keystream(&self, tag: u128, text: &mut [u8]) {
        let mut counter = tag & !((1 << 63) | (1 << 31));
        for chunk in text.chunks_mut(STREAM_BLOCKS * BLOCK_LEN) {
            let mut stream = [Array::default(); STREAM_BLOCKS];
            let needed = chunk.len().div_ceil(BLOCK_LEN);
            let needed = stream.get_mut(..needed).unwrap_or_default();
            for block in &mut *needed {
                *block = Array::from(counter.to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            self.keystream.encrypt_blocks(needed);
            for (bytes, block) in chunk.chunks_mut(BLOCK_LEN).zip(&*needed) {
                xor(bytes, block);
            }
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often a test's thread has opened something.
    pub(in crate::vault) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// CMAC's chain in one call, so that the cipher makes ready for its work once and not for each block.
struct Chain<'a> {
    runs: [&'a [Block]; 2],
    last: Block,
    state: &'a mut Array<u8, U16>,
}

impl BlockSizeUser for Chain<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Chain<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, cipher: &B) {
        for block in self.runs.into_iter().flatten().chain([&self.last]) {
            xor(self.state, block);
            cipher.encrypt_block(self.state.into());
        }
    }
}

impl fmt::Debug for Siv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Siv([secret])")
    }
}

impl Drop for Siv {
    fn drop(&mut self) {
        // The two ciphers wipe themselves.
        self.subkey.zeroize();
        self.after_context.zeroize();
    }
}

impl ZeroizeOnDrop for Siv {}

fn encrypt(cipher: &Aes256, block: u128) -> u128 {
    let mut block = Array::from(block.to_be_bytes());
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

/// Doubling in the field of CMAC, without a branch on the secret bit.
fn double(block: u128) -> u128 {
    (block << 1) ^ (0x87 & (block >> 127).wrapping_neg())
}

fn xor(into: &mut [u8], other: &[u8]) {
    into.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}

/// Under a block of text, then a one bit and zeros.
fn padded(text: &[u8]) -> u128 {
    let mut block = [0; BLOCK_LEN];
    for (slot, byte) in block.iter_mut().zip(text.iter().chain(&[0x80])) {
        *slot = *byte;
    }
    u128::from_be_bytes(block)
}
