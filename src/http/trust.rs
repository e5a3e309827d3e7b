//! Certificates: trust anchors, verification of a presented chain, subject alternative names.
//!
//! Not here: which partner a certificate belongs to. Start at [`Trust`] and [`Identity`]. The cryptography is rustls' and
//! aws-lc-rs', named explicitly everywhere: there is no process-wide default to depend on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

use crate::clock::Time;

use super::pem;

/// The one cryptographic provider.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Whom we believe: the roots of one PEM file. Verifies client certificates against them.
#[derive(Clone, Debug)]
pub struct Trust {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    /// From the text of a PEM file. `Err` says what is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let roots = Arc::new(roots(pem::parse_certificates(pem)?)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| format!("cannot be used as authorities: {error}"))?;
        Ok(Self { verifier })
    }

    /// Whether the chain leads to one of these roots, is valid now, and is for client authentication.
    pub fn verify(&self, chain: &[CertificateDer<'static>], now: Time) -> bool {
        let Some((end_entity, intermediates)) = chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        self.verifier.verify_client_cert(end_entity, intermediates, now).is_ok()
    }
}

/// What verifies the client certificates of a listener: an authority of the file `ca`, and if there is a file `crl`, a list in it of
/// each authority of the chain, that has not ended and does not have the certificate. What a list cannot tell is refused.
pub(super) fn client_verifier(
    ca: &Path,
    crl: Option<&Path>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = roots(pem::certificates(ca)?).map_err(|error| format!("`{}`: {error}", ca.display()))?;
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(path) = crl {
        verifier = verifier.with_crls(pem::revocations(path)?).enforce_revocation_expiration();
    }
    if !required {
        verifier = verifier.allow_unauthenticated();
    }
    verifier.build().map_err(|error| match (error, crl) {
        (VerifierBuilderError::InvalidCrl(_), Some(path)) => {
            format!("`{}`: a list of revoked certificates in it cannot be read", path.display())
        }
        (error, _) => format!("`{}`: {error}", ca.display()),
    })
}

pub(super) fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        let bad = |error| format!("certificate {} in it cannot be an authority: {error}", index + 1);
        roots.add(certificate).map_err(bad)?;
    }
    Ok(roots)
}

/// What a peer showed in the TLS handshake: verified by the listener's own trust, not yet by a partner's.
#[derive(Clone, Debug)]
pub struct Identity {
    /// End entity first.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// DNS and URI subject alternative names of the end entity; DNS in lower case.
    pub sans: Arc<[String]>,
    /// The last trust that verified the chain, and the time for which that holds.
    verified: Arc<Mutex<Option<Verified>>>,
}

#[derive(Debug)]
struct Verified {
    by: Arc<dyn ClientCertVerifier>,
    from: Time,
    /// The first moment at which a certificate of the chain is not valid any more.
    until: Time,
}

impl Identity {
    /// From a presented chain. `None` where it cannot be read.
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (rest, end_entity) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut sans = Vec::new();
        if let Some(extension) = end_entity.subject_alternative_name().ok()? {
            for name in &extension.value.general_names {
                match name {
                    // A DNS name with a colon or a slash in it would pass for a URI.
                    GeneralName::DNSName(name) if is_dns_name(name) => sans.push(name.to_ascii_lowercase()),
                    GeneralName::URI(uri) if uri.contains(':') && uri.bytes().all(|b| b.is_ascii_graphic()) => {
                        sans.push((*uri).to_owned());
                    }
                    _ => {}
                }
            }
        }
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Some(Self { chain, sans: sans.into(), verified: Arc::default() })
    }

    /// Whether one of the names is `pattern`: exact, or for a leading `*.` one label more (RFC 9525, section 6.3).
    pub fn matches(&self, pattern: &str) -> bool {
        if pattern.contains(':') {
            // URIs are compared as written: a partner's authority has no reason to spell them in two ways.
            return self.sans.iter().any(|name| name == pattern);
        }
        let pattern = pattern.to_ascii_lowercase();
        let parent = pattern.strip_prefix("*.").filter(|parent| !parent.is_empty());
        self.sans.iter().any(|name| {
            *name == pattern
                || match (parent, name.split_once('.')) {
                    (Some(parent), Some((label, rest))) => !label.is_empty() && !label.contains('*') && rest == parent,
                    _ => false,
                }
        })
    }

    /// [`Trust::verify`] for this chain, remembering the last yes: a connection's second request under the same policies asks
    /// no signatures again. The yes ends with the first certificate of the chain that expires.
    pub fn trusted_by(&self, trust: &Trust, now: Time) -> bool {
        // A poisoned lock holds a whole value: it is only ever replaced.
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*verified
            && Arc::ptr_eq(&last.by, &trust.verifier)
            && (last.from..last.until).contains(&now)
        {
            return true;
        }
        let yes = trust.verify(&self.chain, now);
        *verified = match self.chain.iter().map(expiry).min() {
            Some(until) if yes => Some(Verified { by: trust.verifier.clone(), from: now, until }),
            _ => None,
        };
        yes
    }
}

/// Letters, digits, hyphen, underscore and dots; a leftmost label of `*`.
fn is_dns_name(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The end of a certificate's validity; the beginning of time where it cannot be read.
fn expiry(certificate: &CertificateDer<'_>) -> Time {
    let seconds = x509_parser::parse_x509_certificate(certificate)
        .map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp());
    Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// A certificate chain with its key, both from PEM files, that belong together.
pub(super) fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = pem::certificates(certificate)?;
    CertifiedKey::from_der(chain, pem::key(key)?, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("the key `{}` is not the key of the certificate `{}`", key.display(), certificate.display())
        }
        _ => format!("`{}`: not a usable private key", key.display()),
    })
}

/// Whether certificate and key are there, can be read, and belong together. `Err` says what is wrong.
pub fn check_pair(certificate: &Path, key: &Path) -> Result<(), String> {
    certified(certificate, key).map(drop)
}

/// Whether a file of authorities is there and can be used. `Err` says what is wrong.
pub fn check_authorities(path: &Path) -> Result<(), String> {
    roots(pem::certificates(path)?).map(drop).map_err(|error| format!("`{}`: {error}", path.display()))
}

/// Whether a file of authorities and one of lists of what they revoked can be used together. `Err` says what is wrong.
pub fn check_revocations(ca: &Path, crl: &Path) -> Result<(), String> {
    client_verifier(ca, Some(crl), true).map(drop)
}

/// A digest of the authorities that a client believes and of the certificates that it shows (a key goes with its certificate).
pub type Fingerprint = [u8; 32];

/// TLS towards an upstream: 1.2 and 1.3, its certificate verified against `ca` or the system's roots, showing the certificate
/// and key `identity`. There is no way to leave the verification out. The caller sets `alpn_protocols`.
pub fn client_config(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<(ClientConfig, Fingerprint), String> {
    let roots = match ca {
        Some(path) => roots(pem::certificates(path)?).map_err(|error| format!("`{}`: {error}", path.display()))?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "the system has no authorities (is `ca-certificates` installed?): name a file as `ca`".into()
                );
            }
            roots
        }
    };
    let certified = identity.map(|(certificate, key)| certified(certificate, key)).transpose()?;
    let fingerprint = fingerprint(&roots, certified.as_ref());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match certified {
        None => builder.with_no_client_auth(),
        Some(certified) => {
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::new(certified))))
        }
    };
    Ok((config, fingerprint))
}

fn fingerprint(roots: &RootCertStore, shown: Option<&CertifiedKey>) -> Fingerprint {
    let (mut all, mut digest) = (Vec::new(), Sha256::new());
    for root in &roots.roots {
        let constraints = root.name_constraints.as_ref().map(|constraints| constraints.as_ref()).unwrap_or_default();
        all.push([root.subject.as_ref(), root.subject_public_key_info.as_ref(), constraints]);
    }
    // A system's folder has no order.
    all.sort_unstable();
    let shown = shown.iter().flat_map(|shown| &shown.cert).map(|certificate| certificate.as_ref());
    for field in all.into_iter().flatten().chain([&[][..]]).chain(shown) {
        digest.update((field.len() as u64).to_le_bytes());
        digest.update(field);
    }
    digest.finalize().into()
}

/// Where no TLS is spoken, and a connector wants its settings all the same: it believes nobody, so that none comes about.
pub(super) fn client_config_without_authorities() -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{Authority, authority};

    const NOW: Time = Time(1_790_000_000_000);

    fn identity(sans: &[&str]) -> Identity {
        let (certificate, _) = authority("a").issue(sans);
        Identity::from_chain(&[certificate]).unwrap()
    }

    #[test]
    fn a_chain_is_believed_under_its_own_authority_only_and_in_its_time() {
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let trust = Trust::from_pem(ours.pem().as_bytes()).unwrap();
        let chain = |authority: &Authority| [authority.issue(&["a.example"]).0];
        assert!(trust.verify(&chain(&ours), NOW));
        assert!(!trust.verify(&chain(&theirs), NOW));
        assert!(!trust.verify(&[], NOW));
        assert!(!trust.verify(&chain(&ours), Time(0)), "not yet valid");
        assert!(!trust.verify(&chain(&ours), Time(5_000_000_000_000)), "not valid any more");
        assert!(!trust.verify(&[ours.issue_for_servers(&["a.example"]).0], NOW), "not for client authentication");
    }

    #[test]
    fn a_remembered_yes_ends_with_the_certificate_and_with_the_trust() {
        let ours = authority("ours");
        let identity = Identity::from_chain(&[ours.issue(&["a.example"]).0]).unwrap();
        let trust = Trust::from_pem(ours.pem().as_bytes()).unwrap();
        let other = Trust::from_pem(authority("theirs").pem().as_bytes()).unwrap();
        assert!(identity.trusted_by(&trust, NOW) && identity.trusted_by(&trust.clone(), NOW));
        assert!(identity.verified.lock().unwrap().is_some());
        assert!(!identity.trusted_by(&trust, Time(5_000_000_000_000)));
        assert!(identity.trusted_by(&trust, NOW));
        assert!(!identity.trusted_by(&other, NOW));
        assert!(!identity.trusted_by(&trust, Time(0)), "a clock that was set back asks again");
    }

    #[test]
    fn names_match_exactly_or_by_one_whole_label() {
        let check = |san: &str, pattern: &str, expected: bool| {
            assert_eq!(identity(&[san]).matches(pattern), expected, "{san} by {pattern}");
        };
        check("api.northwind.example", "api.northwind.example", true);
        check("API.Northwind.example", "api.northwind.EXAMPLE", true);
        check("api.northwind.example", "*.northwind.example", true);
        check("a.b.northwind.example", "*.northwind.example", false);
        check("northwind.example", "*.northwind.example", false);
        check("api.northwind.example", "a*.northwind.example", false);
        check("api.northwind.example", "*.*.example", false);
        check("api.northwind.example", "*", false);
        check("api.northwind.example", "*.", false);
        check("api.northwind.example", "", false);
        check("*.northwind.example", "api.northwind.example", false);
        check("*.northwind.example", "*.northwind.example", true);
        check("spiffe://northwind/orders", "spiffe://northwind/orders", true);
        check("spiffe://northwind/orders", "spiffe://northwind/Orders", false);
        check("spiffe://northwind/orders", "*.northwind/orders", false);
    }

    #[test]
    fn a_certificate_without_names_matches_nothing_and_garbage_is_no_identity() {
        assert!(identity(&[]).sans.is_empty() && !identity(&[]).matches(""));
        assert!(Identity::from_chain(&[]).is_none());
        assert!(Identity::from_chain(&[CertificateDer::from(vec![1, 2, 3])]).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_bundle_is_said() {
        let check = |text: &str, expected: &str| {
            let error = Trust::from_pem(text.as_bytes()).map(drop).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("", "no certificate in it");
        check("-----BEGIN CERTIFICATE-----\n", "not PEM");
        check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is not X.509");
    }
}
