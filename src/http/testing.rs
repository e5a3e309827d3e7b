//! Throw-away certificates for tests.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

/// An authority that lives for one test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) type Issued = (CertificateDer<'static>, KeyPair);

/// Makes one.
pub(crate) fn authority(name: &str) -> Authority {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

impl Authority {
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for clients with the given names (URIs by their colon), and its key.
    pub(crate) fn issue(&self, sans: &[&str]) -> Issued {
        self.issue_as(sans, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// As [`Self::issue`], for servers.
    pub(crate) fn issue_for_servers(&self, sans: &[&str]) -> Issued {
        self.issue_as(sans, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue_as(&self, sans: &[&str], usage: ExtendedKeyUsagePurpose) -> Issued {
        let mut params = params("someone");
        for san in sans {
            let name = (*san).try_into().unwrap();
            params.subject_alt_names.push(if san.contains(':') { SanType::URI(name) } else { SanType::DnsName(name) });
        }
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), key)
    }

    /// Writes `NAME.pem` and `NAME.key` (mode 0600).
    pub(crate) fn write(&self, folder: &Path, name: &str, pair: &Issued) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, pem_of(&pair.0)).unwrap();
        write_secret(&key, &pair.1.serialize_pem());
        (certificate, key)
    }

    /// A list that has these of its certificates, of today or of long ago.
    pub(crate) fn revokes(&self, certificates: &[&CertificateDer<'_>], ended: bool) -> String {
        let revoked = certificates.iter().map(|certificate| {
            let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
            RevokedCertParams {
                serial_number: certificate.raw_serial().to_vec().into(),
                revocation_time: date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(if ended { 2022 } else { 2100 }, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Writes `NAME.pem` with the authority itself.
    pub(crate) fn write_self(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.pem"));
        std::fs::write(&path, self.pem()).unwrap();
        path
    }
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let base64 = data_encoding::BASE64.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

/// Writes a file that only we may read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
