//! Certificates and tokens for tests: one set of authorities for the whole run, made at first use.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Credential {
    pub certificate: String,
    pub key: String,
}

/// Signs certificates.
pub struct Authority {
    /// PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// For a server or a client with this name, valid in the years given.
    fn issue(&self, san: &str, usage: ExtendedKeyUsagePurpose, years: std::ops::Range<i32>) -> Credential {
        let mut params = CertificateParams::new(vec![san.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, san);
        params.extended_key_usages = vec![usage];
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Credential { certificate, key: key.serialize_pem() }
    }

    /// A server's.
    pub fn server(&self, san: &str) -> Credential {
        self.issue(san, ExtendedKeyUsagePurpose::ServerAuth, 2000..2200)
    }

    /// A client's.
    pub fn client(&self, san: &str) -> Credential {
        self.issue(san, ExtendedKeyUsagePurpose::ClientAuth, 2000..2200)
    }

    /// A client's that has expired.
    pub fn expired_client(&self, san: &str) -> Credential {
        self.issue(san, ExtendedKeyUsagePurpose::ClientAuth, 2000..2001)
    }
}

/// Signs the proxy's own certificate.
pub static OURS: LazyLock<Authority> = LazyLock::new(|| Authority::new("Tidegate tests: ours"));
/// Signs the first partner's certificates.
pub static PARCELO: LazyLock<Authority> = LazyLock::new(|| Authority::new("Tidegate tests: Parcelo"));
/// Signs the second partner's certificates.
pub static ADMIRA: LazyLock<Authority> = LazyLock::new(|| Authority::new("Tidegate tests: Admira"));
/// Nobody believes it.
pub static STRANGER: LazyLock<Authority> = LazyLock::new(|| Authority::new("Tidegate tests: a stranger"));

/// Signs JSON Web Tokens with ES256.
pub struct TokenIssuer {
    key: KeyPair,
    id: String,
}

/// The issuer that policies of tests believe.
pub static TOKENS: LazyLock<TokenIssuer> = LazyLock::new(|| TokenIssuer::new("one"));
/// Another that uses the same key id.
pub static FORGED_TOKENS: LazyLock<TokenIssuer> = LazyLock::new(|| TokenIssuer::new("one"));

impl TokenIssuer {
    fn new(id: &str) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { key, id: id.to_owned() }
    }

    /// The key set (RFC 7517) that verifies its tokens.
    pub fn jwks(&self) -> String {
        let point = self.key.public_key_raw();
        let (x, y) = (BASE64URL_NOPAD.encode(&point[1..33]), BASE64URL_NOPAD.encode(&point[33..65]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": x, "y": y}]})
            .to_string()
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}
