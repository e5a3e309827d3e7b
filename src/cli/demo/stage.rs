//! The demo's folder: settings, policies, keys, certificates, all made here and worth nothing elsewhere.
//!
//! Start at [`Stage::prepare`]. The policies are the shipped ones; only the digests of the API keys are put in.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use sha2::{Digest, Sha256};

use crate::keys;

/// What the shipped policies have in place of a key's digest.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The file that says that a folder is a demo's.
const MARK: &str = ".tidegate-demo";
const POLICIES: [(&str, &str); 2] = [
    ("parcelo", include_str!("../../../policies/parcelo.toml")),
    ("admira", include_str!("../../../policies/admira.toml")),
];

/// A folder that is ready to be run.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    /// The API key of `parcelo`.
    pub parcelo_key: String,
    /// The API key of `admira`.
    pub admira_key: String,
}

impl Stage {
    /// Makes the folder, or takes the one that an earlier demo made: what was changed in it stays changed.
    ///
    /// # Errors
    /// A sentence: the folder is somebody else's, or a file could not be written.
    pub fn prepare(folder: &Path) -> Result<Self, String> {
        let used = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if used && !folder.join(MARK).exists() {
            return Err(format!("`{}` is not empty and not a demo's folder", folder.display()));
        }
        if !used {
            make(folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
        }
        let key = |id: &str| {
            let file = folder.join("partners").join(format!("{id}.key"));
            let text = fs::read_to_string(&file).map_err(|error| format!("cannot read `{}`: {error}", file.display()));
            text.map(|text| text.trim().to_owned())
        };
        Ok(Self { folder: folder.to_owned(), parcelo_key: key("parcelo")?, admira_key: key("admira")? })
    }

    /// A file of it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn make(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    for part in ["policies", "certs"] {
        fs::create_dir(folder.join(part))?;
    }
    fs::DirBuilder::new().mode(0o700).create(folder.join("partners"))?;
    keys::init(&folder.join("keys"))?;
    for (id, policy) in POLICIES {
        let key = format!("{id}-{}", random()?);
        write(&folder.join("partners").join(format!("{id}.key")), &format!("{key}\n"))?;
        let digest = HEXLOWER.encode(&Sha256::digest(key.as_bytes()));
        fs::write(folder.join("policies").join(format!("{id}.toml")), policy.replace(NO_DIGEST, &digest))?;
    }
    let (ours, ours_pem) = authority("Tidegate demo: our authority")?;
    let (parcelo, parcelo_pem) = authority("Tidegate demo: Parcelo's authority")?;
    let (server, server_key) = issue(&ours, "localhost", ExtendedKeyUsagePurpose::ServerAuth)?;
    let (client, client_key) = issue(&parcelo, "gateway.parcelo.example", ExtendedKeyUsagePurpose::ClientAuth)?;
    for (name, text) in [
        ("certs/ca.pem", ours_pem),
        ("certs/parcelo-ca.pem", parcelo_pem),
        ("certs/tidegate.pem", server),
        ("certs/tidegate.key", server_key),
        ("partners/parcelo.pem", client),
        ("partners/parcelo-tls.key", client_key),
        ("tidegate.toml", SETTINGS.to_owned()),
        (MARK, "made by `tidegate demo`; everything here may be thrown away\n".to_owned()),
    ] {
        write(&folder.join(name), &text)?;
    }
    Ok(())
}

/// Writes a file that only its owner may read.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(HEXLOWER.encode(&bytes))
}

type Authority = Issuer<'static, KeyPair>;

fn authority(name: &str) -> Result<(Authority, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn issue(authority: &Authority, san: &str, usage: ExtendedKeyUsagePurpose) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![san.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, san);
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

/// Ports are free ones; the upstreams' addresses are put in when they are known.
const SETTINGS: &str = r#"# Made by `tidegate demo`. `tidegate init` makes one for an API of yours.

policies = "policies"

[[listener]]                             # partners call here
name    = "partners"
address = "127.0.0.1:0"
facing  = "partner"
tls     = { certificate = "certs/tidegate.pem", key = "certs/tidegate.key", client_ca = "certs/parcelo-ca.pem" }

[[listener]]                             # our own systems call partners here
name    = "inside"
address = "127.0.0.1:0"
facing  = "inside"

[upstream.orders]
url = "http://127.0.0.1:1"

[upstream.parcelo-api]
url = "http://127.0.0.1:1"

[admin]
address = "127.0.0.1:0"

[keys]
folder = "keys"

[ledger]
folder = "record"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_somebody_elses_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "x").unwrap();
        assert!(Stage::prepare(folder.path()).unwrap_err().contains("not a demo's folder"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_demo_takes_the_folder_as_the_first_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("demo");
        let first = Stage::prepare(&folder).unwrap();
        let policy = first.path("policies/parcelo.toml");
        fs::write(&policy, fs::read_to_string(&policy).unwrap() + "# changed\n").unwrap();
        let second = Stage::prepare(&folder).unwrap();
        assert_eq!(first.parcelo_key, second.parcelo_key);
        let text = fs::read_to_string(&policy).unwrap();
        assert!(text.ends_with("# changed\n") && !text.contains(NO_DIGEST));
        assert!(text.contains(&HEXLOWER.encode(&Sha256::digest(first.parcelo_key.as_bytes()))));
    }
}
