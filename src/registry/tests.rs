//! Folders of policies, read by the real reader.

use super::*;
use crate::keys::{self, KeyRing};
use tempfile::TempDir;

const NOW: Time = Time(1_790_000_000_000);

fn policy(id: &str, key: u16) -> String {
    format!(
        "[partner]\nid = \"{id}\"\nname = \"{id}\"\ncountries = [\"DE\"]\npurpose = \"service\"\nhosts = [\"{id}.internal\"]\n\
         [agreement]\nreference = \"A\"\nexpires = 2035-12-31\n[identify]\n\
         api_key = {{ header = \"x-api-key\", sha256 = [\"{key:064x}\"] }}\n\
         [[inbound]]\nmatch = \"GET /v1/x\"\nupstream = \"orders\"\n[inbound.response]\nkeep = [\"$.a\"]\n"
    )
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        keys::init(&folder.path().join("keys")).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("policies").join(name), text).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings {
            folder: self.0.path().join("policies"),
            base: self.0.path().to_owned(),
            upstreams: BTreeSet::from([UpstreamId::parse("orders").unwrap()]),
        }
    }

    fn open(&self) -> Result<Registry, Error> {
        let vault = Vault::new(Arc::new(KeyRing::open(&self.0.path().join("keys")).unwrap()));
        Registry::open(self.settings(), vault, Clock::manual(NOW))
    }
}

#[test]
fn a_set_is_indexed_by_key_and_host() {
    let place = Place::new();
    place.write("a.toml", &policy("a", 1));
    place.write("b.toml", &policy("b", 2));
    place.write("notes.md", "not a policy");
    let set = place.open().unwrap().current();
    assert_eq!(set.partners.len(), 2);
    let mut digest = [0; 32];
    digest[31] = 2;
    assert_eq!(set.index.key(0, digest).map(|(partner, _)| partner), Some(1));
    assert_eq!(set.index.key(0, [0; 32]), None);
    assert_eq!((set.index.host("b.internal"), set.index.host("c.internal")), (Some(1), None));
}

#[test]
fn a_set_that_does_not_load_leaves_the_old_one_and_is_told_once() {
    let place = Place::new();
    place.write("a.toml", &policy("a", 1));
    let registry = place.open().unwrap();
    let old = registry.current();
    place.write("b.toml", "[partner]\nid = 7\n");
    let (first, second) = (registry.reload().unwrap_err(), registry.reload().unwrap_err());
    assert!(Arc::ptr_eq(&first, &second));
    assert!(first.0.iter().all(|complaint| complaint.place.starts_with("policies/b.toml:")), "{first}");
    assert!(Arc::ptr_eq(&registry.current(), &old));
    place.write("b.toml", &policy("b", 2));
    assert!(matches!(registry.reload(), Ok(Reload::Changed(set)) if set.partners.len() == 2));
    assert_eq!(registry.fault(), None);
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
}

#[test]
fn a_file_that_comes_back_as_it_was_clears_the_fault() {
    let place = Place::new();
    place.write("a.toml", &policy("a", 1));
    let registry = place.open().unwrap();
    place.write("a.toml", "nonsense");
    registry.reload().unwrap_err();
    place.write("a.toml", &policy("a", 1));
    registry.reload().unwrap();
    assert_eq!(registry.fault(), None);
}

#[test]
fn what_the_first_set_lacks_is_said_all_at_once() {
    let place = Place::new();
    place.write("a.toml", &policy("a", 1).replace("\"orders\"", "\"order\""));
    place.write("b.toml", &policy("b", 2).replace("[agreement]", "client_certificates = 1\n[agreement]"));
    let error = place.open().unwrap_err();
    assert!(error.to_string().contains("policies/b.toml:"), "{error}");
    place.write("b.toml", &policy("b", 2));
    let error = place.open().unwrap_err();
    assert!(error.to_string().contains("policies/a.toml: route `GET /v1/x`: no upstream `order`"), "{error}");
}

#[test]
fn a_file_that_a_policy_names_is_read_and_its_change_is_a_change() {
    let place = Place::new();
    let jwt =
        "jwt = { issuer = \"https://id.example\", audience = \"x\", algorithms = [\"EdDSA\"], jwks = \"keys.json\" }\n";
    place.write("a.toml", &policy("a", 1).replace("[[inbound]]", &format!("{jwt}[[inbound]]")));
    assert!(place.open().unwrap_err().to_string().contains("`keys.json`: cannot be read"));
    let key = |x: &str| format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}]}}");
    let file = place.0.path().join("keys.json");
    fs::write(&file, key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
    let registry = place.open().unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
    fs::write(&file, key("O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik")).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Changed(_))));
}

#[test]
fn a_named_file_counts_whatever_its_ending() {
    let place = Place::new();
    let jwt =
        "jwt = { issuer = \"https://id.example\", audience = \"x\", algorithms = [\"EdDSA\"], jwks = \"key's set\" }\n";
    place.write("a.toml", &policy("a", 1).replace("[[inbound]]", &format!("{jwt}[[inbound]]")));
    let key = |x: &str| format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}]}}");
    let file = place.0.path().join("key's set");
    fs::write(&file, key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
    let registry = place.open().unwrap();
    fs::write(&file, key("O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik")).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Changed(_))));
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
}

#[test]
fn what_an_editor_leaves_beside_a_policy_is_no_policy() {
    let place = Place::new();
    place.write("a.toml", &policy("a", 1));
    place.write(".#a.toml", "someone@host.1234");
    assert_eq!(place.open().unwrap().current().partners.len(), 1);
}

#[test]
fn two_partners_with_one_key_or_one_host_do_not_load() {
    for twin in [policy("b", 1), policy("b", 2).replace("b.internal", "a.internal")] {
        let place = Place::new();
        place.write("a.toml", &policy("a", 1));
        place.write("b.toml", &twin);
        place.open().unwrap_err();
    }
}

#[test]
fn a_thousand_partners_load() {
    let place = Place::new();
    for number in 0..1000 {
        place.write(&format!("p{number}.toml"), &policy(&format!("p{number}"), number));
    }
    let start = std::time::Instant::now();
    assert_eq!(place.open().unwrap().current().partners.len(), 1000);
    println!("1,000 partners loaded in {:?}", start.elapsed());
}

/// A policy whose response has a token in it.
fn tokenizing(id: &str, key: u16) -> String {
    policy(id, key).replace("keep = [\"$.a\"]", "fields = [{ path = \"$.a\", do = \"tokenize\" }]")
}

impl Place {
    fn keys(&self) -> KeyRing {
        KeyRing::open(&self.0.path().join("keys")).unwrap()
    }
}

#[test]
fn a_rotation_is_taken_by_a_reload_and_changes_no_digest() {
    let place = Place::new();
    place.write("a.toml", &tokenizing("a", 1));
    place.write("b.toml", &tokenizing("b", 2));
    let registry = place.open().unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)), "the domains that it made itself are no change");
    let old = registry.current();
    place.keys().rotate(&DomainId::parse("a").unwrap(), false).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Changed(set)) if set.digest == old.digest));
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
}

#[test]
fn a_partner_whose_domain_is_destroyed_is_suspended_until_it_is_begun_anew() {
    let place = Place::new();
    place.write("a.toml", &tokenizing("a", 1));
    place.write("b.toml", &tokenizing("b", 2));
    let registry = place.open().unwrap();
    let suspended =
        |registry: &Registry| registry.current().partners.iter().map(|partner| partner.suspended).collect::<Vec<_>>();
    assert_eq!(suspended(&registry), [false, false]);
    let domain = DomainId::parse("a").unwrap();
    place.keys().destroy(&domain, None, None).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Changed(_))));
    assert_eq!(suspended(&registry), [true, false]);
    assert_eq!(suspended(&place.open().unwrap()), [true, false], "also after a restart");
    assert!(place.keys().list().unwrap().iter().all(|(living, _)| *living != domain), "nothing was made anew");
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
    place.keys().rotate(&domain, true).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Changed(_))));
    assert_eq!(suspended(&registry), [false, false]);
}

#[test]
fn keys_that_cannot_be_read_are_told_and_keep_no_policy_from_changing() {
    let place = Place::new();
    place.write("a.toml", &tokenizing("a", 1));
    let registry = place.open().unwrap();
    let stranger = place.0.path().join("keys/notes.txt");
    fs::write(&stranger, "").unwrap();
    let error = registry.reload().unwrap_err();
    assert!(error.to_string().contains("notes.txt: this file does not belong in a key folder"), "{error}");
    assert!(Arc::ptr_eq(&error, &registry.reload().unwrap_err()), "told once");
    place.write("a.toml", &tokenizing("a", 1).replace("[agreement]", "[agreement]\nsuspended = true"));
    assert!(matches!(registry.reload(), Ok(Reload::Changed(set)) if set.partners[0].suspended));
    registry.reload().unwrap_err();
    fs::remove_file(stranger).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Changed(_))));
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
}

#[test]
fn a_destroyed_domain_ends_although_the_policies_do_not_load() {
    let place = Place::new();
    place.write("a.toml", &tokenizing("a", 1));
    let registry = place.open().unwrap();
    let domain = DomainId::parse("a").unwrap();
    let issue = || {
        let sealer = registry.vault.sealer(&domain, None, crate::ids::Shape::Opaque)?;
        let mut token = Vec::new();
        Ok::<_, keys::Error>((sealer.clone(), sealer.issue(crate::vault::token::Value::Text("anna"), &mut token)))
    };
    let (sealer, _) = issue().unwrap();
    place.write("b.toml", "nonsense");
    place.keys().destroy(&domain, None, None).unwrap();
    registry.reload().unwrap_err();
    let mut token = Vec::new();
    sealer.issue(crate::vault::token::Value::Text("anna"), &mut token);
    assert!(token.is_empty(), "nothing more is issued, under the policies that are still in force");
    assert!(issue().is_err());
}

#[test]
fn a_lost_key_file_changes_nothing_for_a_running_program() {
    let place = Place::new();
    place.write("a.toml", &tokenizing("a", 1));
    let registry = place.open().unwrap();
    let file = place.0.path().join("keys/a@1.key");
    let backup = place.0.path().join("backup");
    fs::rename(&file, &backup).unwrap();
    assert!(registry.reload().unwrap_err().to_string().contains("`a@1.key`"));
    place.write("a.toml", &tokenizing("a", 2));
    assert!(matches!(registry.reload(), Ok(Reload::Changed(_))));
    assert!(!file.exists(), "no other was made in its place");
    fs::rename(&backup, &file).unwrap();
    assert!(matches!(registry.reload(), Ok(Reload::Unchanged)));
}
