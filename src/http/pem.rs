//! Certificates and keys from PEM files (RFC 7468), and the rule that secrets are ours alone to read.
//!
//! Not here: whether a certificate is believed ([`super::trust`]). Messages name what was found and what was wanted, never
//! what a file contains. Start at [`certificates`].

use std::io::Read;
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// A settings-sized file; anything larger is not what it should be.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// All certificates of a file, in their order; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path, false)?;
    parse_certificates(&text).map_err(|error| format!("{}: {error}", shown(path)))
}

/// All certificates of a PEM text, in their order; at least one.
pub(super) fn parse_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = certificates.map_err(|_| "not PEM (RFC 7468)".to_owned())?;
    if certificates.is_empty() {
        return Err("no certificate in it: expected `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    for (index, certificate) in certificates.iter().enumerate() {
        match x509_parser::parse_x509_certificate(certificate) {
            Ok(([], _)) => {}
            _ => return Err(format!("certificate {} in it is not X.509", index + 1)),
        }
    }
    Ok(certificates)
}

/// All lists of revoked certificates of a file; at least one.
pub(super) fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let text = read(path, false)?;
    let lists: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    let lists = lists.map_err(|_| format!("{}: not PEM (RFC 7468)", shown(path)))?;
    if lists.is_empty() {
        return Err(format!("{}: no list in it: expected `-----BEGIN X509 CRL-----`", shown(path)));
    }
    Ok(lists)
}

/// The one private key of a file that only we may read.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path, true)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("{}: no private key in it: expected `-----BEGIN PRIVATE KEY-----`", shown(path))
        }
        _ => format!("{}: not PEM (RFC 7468)", shown(path)),
    })
}

/// The text of a file that only we may read, without the line end at its end.
pub fn secret_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let mut bytes = read(path, true)?;
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| format!("{}: not UTF-8", shown(path)))?;
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a file whole. `secret`: refused where group or others may do anything with it.
fn read(path: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {}", shown(path), reason(&error));
    let file = std::fs::File::open(path).map_err(cannot)?;
    // Asked of the open file, so that what is checked is what is read.
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", shown(path)));
    }
    if secret && let Some(mode) = loose(&metadata) {
        return Err(format!(
            "{} can be read by others (mode {mode:04o}): `chmod 600` it, and count the secret as seen",
            shown(path)
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("{} is over 4 MiB", shown(path)));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

#[cfg(unix)]
fn loose(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn loose(_: &std::fs::Metadata) -> Option<u32> {
    None
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// The words of an I/O error, in our style.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string().to_lowercase(),
    }
}
