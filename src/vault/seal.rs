//! The only cryptography: AES-SIV, HMAC, HKDF, FF1, JWE.
