//! AES-256, one block or some at a time; what the modes of this folder are built on.
//!
//! By AWS-LC, and not by the `aes` crate: where a processor has the widest instructions for AES, that one lays out its round keys
//! anew for each call, which costs three times the block itself. "ECB" is what a library has to call its bare block cipher;
//! nothing here is that mode.

use std::sync::Arc;

use aes::cipher::consts::{U1, U16, U32};
use aes::cipher::inout::InOut;
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, Key, KeyInit, KeySizeUser,
    ParBlocksSizeUser,
};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a block.
pub const BLOCK_LEN: usize = 16;

/// A block.
pub type Block = [u8; BLOCK_LEN];

/// Blocks that are chained one call each: fewer than this are dearer to copy than to call for.
const CHAIN_SHORT: usize = 4;
/// Blocks that are chained in one call.
const CHAIN_LONG: usize = 32;
/// Blocks of keystream that are made by the bare cipher: above, AWS-LC counts by itself.
const STREAM_SHORT: usize = 16;

/// An expanded key. Cheap to clone; `&self` from any thread. Wiped when the last is dropped.
#[derive(Clone)]
pub struct Aes256(Arc<Modes>);

/// The same key for what AWS-LC calls modes; each keeps an expanded copy.
struct Modes {
    bare: EncryptingKey,
    chain: EncryptingKey,
    stream: EncryptingKey,
}

impl Aes256 {
    /// Expands a key.
    #[must_use]
    #[expect(clippy::expect_used, reason = "AWS-LC refuses keys of another length than 32 bytes only")]
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        let expand = |mode: fn(UnboundCipherKey) -> Result<EncryptingKey, Unspecified>| {
            UnboundCipherKey::new(&AES_256, key).and_then(mode).expect("a key of 32 bytes")
        };
        let (bare, chain, stream) =
            (expand(EncryptingKey::ecb), expand(EncryptingKey::cbc), expand(EncryptingKey::ctr));
        Self(Arc::new(Modes { bare, chain, stream }))
    }

    /// Encrypts one block in place.
    pub fn encrypt(&self, block: &mut Block) {
        run(&self.0.bare, block, EncryptionContext::None);
    }

    /// The chain of CBC from `state` over `blocks`: each is added to the state, which is then encrypted. Gives the last state.
    #[must_use]
    pub fn chain(&self, mut state: Block, blocks: &[Block]) -> Block {
        for run_of in blocks.chunks(CHAIN_LONG) {
            if run_of.len() < CHAIN_SHORT {
                for block in run_of {
                    state = xor(state, *block);
                    self.encrypt(&mut state);
                }
                continue;
            }
            let mut room = [Block::default(); CHAIN_LONG];
            let copy = room.get_mut(..run_of.len()).unwrap_or_default();
            copy.copy_from_slice(run_of);
            run(&self.0.chain, copy.as_flattened_mut(), EncryptionContext::Iv128(FixedLength::from(&state)));
            state = copy.last().copied().unwrap_or(state);
        }
        state
    }

    /// Adds the keystream of CTR from `counter` to `text`.
    pub fn stream(&self, counter: Block, text: &mut [u8]) {
        if text.len() > STREAM_SHORT * BLOCK_LEN {
            return run(&self.0.stream, text, EncryptionContext::Iv128(FixedLength::from(&counter)));
        }
        let mut room = [Block::default(); STREAM_SHORT];
        let stream = room.get_mut(..text.len().div_ceil(BLOCK_LEN)).unwrap_or_default();
        let first = u128::from_be_bytes(counter);
        for (block, n) in stream.iter_mut().zip(0..) {
            *block = first.wrapping_add(n).to_be_bytes();
        }
        run(&self.0.bare, stream.as_flattened_mut(), EncryptionContext::None);
        text.iter_mut().zip(stream.as_flattened()).for_each(|(byte, other)| *byte ^= other);
    }
}

#[expect(clippy::expect_used, reason = "AWS-LC refuses parts of blocks only; a failure must not pass for a result")]
fn run(key: &EncryptingKey, bytes: &mut [u8], context: EncryptionContext) {
    key.less_safe_encrypt(bytes, context).expect("whole blocks");
}

/// The sum of two blocks.
#[must_use]
pub fn xor(mut block: Block, other: Block) -> Block {
    block.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    block
}

/// The halves of a double key.
#[must_use]
pub fn halves(key: &[u8; 2 * KEY_LEN]) -> [&[u8; KEY_LEN]; 2] {
    match key.as_chunks().0 {
        [first, second] => [first, second],
        _ => unreachable!("twice the length of one"),
    }
}

// What FF1 asks of a cipher.

impl KeySizeUser for Aes256 {
    type KeySize = U32;
}

impl KeyInit for Aes256 {
    fn new(key: &Key<Self>) -> Self {
        Self::new(&key.0)
    }
}

impl BlockSizeUser for Aes256 {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for Aes256 {
    type ParBlocksSize = U1;
}

impl BlockCipherEncrypt for Aes256 {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(self);
    }
}

impl BlockCipherEncBackend for Aes256 {
    fn encrypt_block(&self, mut block: InOut<'_, '_, Array<u8, U16>>) {
        let mut bytes: Block = block.clone_in().into();
        self.encrypt(&mut bytes);
        *block.get_out() = bytes.into();
    }
}
