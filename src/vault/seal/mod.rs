//! The only cryptography of tokens, one primitive a file.
//!
//! Nothing here knows how a token looks or what a policy is: bytes and keys in, bytes out. Each primitive is held against all
//! Wycheproof vectors that there are for it (see `tests.rs`); block cipher, hash and curves come from RustCrypto and AWS-LC.

pub mod alnum;
pub mod block;
pub mod digits;
pub mod ff1;
pub mod gcm;
pub mod iban;
pub mod jwe;
pub mod pseudonym;
pub mod siv;

#[cfg(test)]
mod tests;
