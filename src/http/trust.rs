//! Certificates: trust anchors, verification of a presented chain, subject alternative names.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use crate::clock::Time;

/// Whom we believe: the roots of one PEM file. Verifies client certificates against them.
#[derive(Clone, Debug)]
pub struct Trust {}

impl Trust {
    /// From the text of a PEM file. `Err` says what is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let _ = pem;
        todo!()
    }
    /// Whether the chain leads to one of these roots, is valid now, and is for client authentication.
    pub fn verify(&self, chain: &[CertificateDer<'static>], now: Time) -> bool {
        let _ = (chain, now);
        todo!()
    }
}

/// What a peer showed in the TLS handshake: verified by the listener's own trust, not yet by a partner's.
#[derive(Clone, Debug)]
pub struct Identity {
    /// End entity first.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// DNS and URI subject alternative names of the end entity; DNS in lower case.
    pub sans: Arc<[String]>,
}

impl Identity {
    /// From a presented chain. `None` where it cannot be read.
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let _ = chain;
        todo!()
    }
    /// Whether one of the names is `pattern`: exact, or for a leading `*.` one label more (RFC 9525, section 6.3).
    pub fn matches(&self, pattern: &str) -> bool {
        let _ = pattern;
        todo!()
    }
}
