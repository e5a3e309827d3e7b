//! The commands over folders of keys and policies.

use super::*;
use clap::Parser;
use std::fs;

use crate::ids::Shape;
use crate::vault::token::Value;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A place with keys and policies.
struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        fs::create_dir(ground.path("policies")).unwrap();
        keys::init(&ground.path("keys")).unwrap();
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ring(&self) -> KeyRing {
        KeyRing::open(&self.path("keys")).unwrap()
    }

    /// With `KEYS` and `POLICIES` for its folders, and `answer` on standard input.
    fn run(&self, line: &str, answer: &str) -> (Exit, String, String) {
        let (keys, policies) = (self.path("keys").display().to_string(), self.path("policies").display().to_string());
        let line = line.replace("KEYS", &keys).replace("POLICIES", &policies);
        let args = Line::try_parse_from(std::iter::once("keys").chain(line.split(' '))).unwrap().args;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run_with(args, &mut answer.as_bytes(), &mut out, &mut err);
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn done(&self, line: &str, answer: &str) -> String {
        let (exit, out, err) = self.run(line, answer);
        assert_eq!((exit, err.as_str()), (Exit::Clean, ""), "{line}: {out}");
        out
    }

    fn refused(&self, line: &str, answer: &str) -> String {
        let (exit, _, err) = self.run(line, answer);
        assert_eq!(exit, Exit::Unusable, "{line}: {err}");
        err
    }

    fn policy(&self, id: &str, domain: &str, fields: &str) {
        let text = format!(
            "[partner]\nid = \"{id}\"\nname = \"{id}\"\ncountries = [\"DE\"]\npurpose = \"service\"\ndomain = \"{domain}\"\n\
             [agreement]\nreference = \"A\"\nexpires = 2035-12-31\n[identify]\n\
             api_key = {{ header = \"x-api-key\", sha256 = [\"{:064x}\"] }}\n\
             [[inbound]]\nmatch = \"GET /v1/x\"\nupstream = \"orders\"\n[inbound.response]\nfields = [{fields}]\n",
            id.len()
        );
        fs::write(self.path("policies").join(format!("{id}.toml")), text).unwrap();
    }

    /// A token of `anna`, and how it begins.
    fn token(&self, domain: &str) -> String {
        let mut token = Vec::new();
        let vault = Vault::new(Arc::new(self.ring()));
        let sealer = vault.sealer(&DomainId::parse(domain).unwrap(), None, Shape::Opaque).unwrap();
        sealer.issue(Value::Text("anna"), &mut token);
        String::from_utf8(token[..9].to_vec()).unwrap()
    }
}

#[test]
fn init_makes_keys_once_and_list_names_the_domains_by_their_tokens() {
    let ground = Ground(tempfile::tempdir().unwrap());
    let out = ground.done("init KEYS", "");
    assert!(out.contains("backup"), "{out}");
    assert!(ground.refused("init KEYS", "").contains("there is a root key already"));
    let begin = ground.token("parcelo");
    assert_eq!(ground.done("list KEYS", ""), format!("DOMAIN   EPOCH  TOKENS BEGIN WITH\nparcelo  1      {begin}\n"));
}

#[test]
fn a_folder_that_is_not_there_is_said_on_standard_error() {
    let ground = Ground::new();
    let err = ground.refused("list /nowhere/keys", "");
    assert!(err.contains("there is no key folder here"), "{err}");
}

#[test]
fn rotate_begins_an_epoch_of_one_domain_or_of_all() {
    let ground = Ground::new();
    let old = ground.token("parcelo");
    ground.token("admira");
    let out = ground.done("rotate parcelo --keys KEYS", "");
    assert!(out.contains("domain `parcelo`: new tokens are of epoch 2") && out.contains("backup"), "{out}");
    let new = ground.token("parcelo");
    let out = ground.done("rotate --all --keys KEYS", "");
    assert!(
        out.contains("`parcelo`: new tokens are of epoch 3") && out.contains("`admira`: new tokens are of epoch 2")
    );
    let listed = ground.done("list KEYS", "");
    assert!(listed.contains(&format!("parcelo  1      {old}\nparcelo  2      {new}\nparcelo  3 ")), "{listed}");
    let out = ground.done("rotate parcelo admira parcelo --keys KEYS", "");
    assert!(out.matches("domain `parcelo`").count() == 1 && out.contains("epoch 4"), "once each: {out}");
    assert!(ground.refused("rotate nobody --keys KEYS", "").contains("there is no domain `nobody`"));
    assert!(ground.refused("rotate Not/one --keys KEYS", "").contains("is no name of a domain"));
}

#[test]
fn plan_says_for_each_partner_what_a_rotation_changes() {
    let ground = Ground::new();
    let fields = "{ path = \"$.mail\", is = \"contact.email\", do = \"tokenize\" }, \
                  { path = \"$.id\", is = \"id.customer\", do = \"pseudonymize\" }, \
                  { path = \"$.account\", is = \"id.account\", do = \"tokenize\", as = \"digits\" }, \
                  { path = \"$.raw\", inside = \"json\", fields = [{ path = \"$.m\", is = \"contact.email\", do = \"tokenize\" }] }";
    ground.policy("parcelo", "parcelo", fields);
    ground.policy("admira", "shared", "{ path = \"$.id\", do = \"pseudonymize\" }");
    ground.policy("adnet", "shared", "{ path = \"$.id\", do = \"pseudonymize\" }");
    ground.token("parcelo");
    ground.token("orphan");
    let plan = ground.done("plan --keys KEYS --policies POLICIES", "");
    for said in [
        "domain `parcelo`: epoch 1; a rotation begins 2\n",
        "  parcelo: tokens of contact.email at 2 places: other tokens for the same values",
        "  parcelo: digits of id.account at 1 place: the same digits as before",
        "  parcelo: pseudonyms of id.customer at 1 place: other pseudonyms",
        "domain `shared`: no secret yet",
        "  shared by admira, adnet:",
        "  adnet: pseudonyms of unnamed at 1 place",
        "domain `orphan`: epoch 1; a rotation begins 2\n  no policy names it: `tidegate keys destroy orphan` ends it",
    ] {
        assert!(plan.contains(said), "{said}\n{plan}");
    }
    assert!(!ground.done("plan orphan --keys KEYS --policies POLICIES", "").contains("parcelo"));
    assert!(ground.refused("plan --keys KEYS", "").contains("where are the policies?"));
    assert_eq!(ground.ring().list().unwrap().len(), 2, "nothing was made");
}

#[test]
fn destroy_says_what_ends_asks_for_the_name_and_leaves_a_tombstone() {
    let ground = Ground::new();
    ground.policy("admira", "admira", "{ path = \"$.id\", do = \"tokenize\" }");
    let (first, _) = (ground.token("parcelo"), ground.done("rotate parcelo --keys KEYS", ""));
    let second = ground.token("parcelo");
    let line = "destroy parcelo --keys KEYS --policies POLICIES";
    for wrong in ["", "\n", "yes\n", "admira\n"] {
        assert!(ground.refused(line, wrong).contains("that is not `parcelo`: nothing was changed"));
    }
    assert!(ground.refused(&format!("{line} --yes admira"), "parcelo\n").contains("nothing was changed"));
    assert_eq!(ground.token("parcelo"), second, "nothing was changed");
    let out = ground.done(line, "parcelo\n");
    for said in [
        "This destroys epochs 1 and 2 of domain `parcelo`, for good.",
        &format!("no token that begins with `{first}` (epoch 1) is ever turned back"),
        &format!("no token that begins with `{second}` (epoch 2) is ever turned back"),
        "its pseudonyms cannot be made again",
        "Backups that have to go too: every copy of parcelo@1.key, parcelo@2.key",
        "destroyed epochs 1 and 2 of domain `parcelo`",
    ] {
        assert!(out.contains(said), "{said}\n{out}");
    }
    assert!(ground.done("list KEYS", "").contains("parcelo  1-2    destroyed\n"));
    assert!(ground.refused("rotate parcelo --keys KEYS", "").contains("`tidegate keys rotate parcelo --begin-anew`"));
    assert!(ground.done("rotate parcelo --begin-anew --keys KEYS", "").contains("epoch 3"));
    assert!(ground.refused("destroy nobody --keys KEYS --policies POLICIES", "nobody").contains("no domain `nobody`"));
}

#[test]
fn destroy_refuses_while_a_policy_names_the_domain_or_none_can_be_asked() {
    let ground = Ground::new();
    ground.policy("parcelo", "parcelo", "{ path = \"$.id\", do = \"tokenize\" }");
    ground.token("parcelo");
    let err = ground.refused("destroy parcelo --yes parcelo --keys KEYS --policies POLICIES", "");
    assert!(
        err.contains("the policy of parcelo names domain `parcelo`: remove the policy first, or `--force`"),
        "{err}"
    );
    let err = ground.refused("destroy parcelo --yes parcelo --keys KEYS", "");
    assert!(err.contains("whether a policy names `parcelo` is not known"), "{err}");
    fs::write(ground.path("policies/parcelo.toml"), "[partner]\nid = 7\n").unwrap();
    let err = ground.refused("destroy parcelo --yes parcelo --keys KEYS --policies POLICIES", "");
    assert!(err.contains("this policy cannot be read"), "{err}");
    assert_eq!(ground.ring().list().unwrap().len(), 1, "nothing was changed");
    ground.done("destroy parcelo --yes parcelo --force --keys KEYS", "");
    assert_eq!(ground.ring().list().unwrap(), []);
}

#[test]
fn old_epochs_end_while_their_domain_goes_on_and_digits_are_warned_of() {
    let ground = Ground::new();
    ground.policy("parcelo", "parcelo", "{ path = \"$.id\", is = \"id.account\", do = \"tokenize\", as = \"digits\" }");
    ground.token("parcelo");
    ground.done("rotate parcelo --keys KEYS", "");
    let kept = ground.token("parcelo");
    let out = ground.done("destroy parcelo --through 1 --yes parcelo --keys KEYS --policies POLICIES", "");
    assert!(
        out.contains("digits issued so far turn back to WRONG digits, unnoticed, and new ones are others: id.account")
    );
    assert!(!out.contains("pseudonyms"), "{out}");
    assert_eq!(ground.token("parcelo"), kept);
    let err = ground.refused("destroy parcelo --through 2 --yes parcelo --keys KEYS --policies POLICIES", "");
    assert!(err.contains("those before the newest can be ended, or the whole domain"), "{err}");
}

/// Rotates `parcelo` while its end is asked for.
struct Hasty<'a>(&'a Ground);

impl io::Read for Hasty<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.done("rotate parcelo --keys KEYS", "");
        (&b"parcelo\n"[..]).read(out)
    }
}

#[test]
fn no_more_is_destroyed_than_was_foretold() {
    let ground = Ground::new();
    ground.token("parcelo");
    let line = format!("keys destroy parcelo --force --keys {}", ground.path("keys").display());
    let args = Line::try_parse_from(line.split(' ')).unwrap().args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run_with(args, &mut io::BufReader::new(Hasty(&ground)), &mut out, &mut err);
    let err = String::from_utf8(err).unwrap();
    assert!(exit == Exit::Unusable && err.contains("nothing was changed"), "{err}");
    assert_eq!(ground.ring().list().unwrap().len(), 2);
}
