//! An operator has tokens turned back, outside of traffic: by the command, through the admin listener of a running program.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::harness::policy::Policy;
use super::harness::process::Process;
use super::harness::upstream::Upstream;
use super::harness::{Ground, Tidegate};

const RECORD: &str = r#"{"id":"<order>","mail":"<email>","account":"<digits>","kept":"<customer>","who":"<person>"}"#;

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/record"
upstream = "crm"
[inbound.response]
fields = [
  { path = "$.id", is = "id.order", do = "tokenize" },
  { path = "$.mail", is = "contact.email", do = "tokenize", as = "email" },
  { path = "$.account", is = "id.account", do = "tokenize", as = "digits" },
  { path = "$.kept", is = "id.customer", do = "tokenize", store = "vault" },
  { path = "$.who", is = "id.person", do = "pseudonymize" },
]
"#;

const ANNA: &str = "anna-credential-0123456789";
const BEN: &str = "ben-credential-0123456789";

fn ground(upstream: &Upstream, more: &[&str]) -> Ground {
    let policies = Tidegate::with(Policy::of("parcelo", ROUTES)).and(Policy::of("admira", ROUTES));
    let mut builder = policies.upstream("crm", upstream).set("vault.kind=embedded");
    for (name, credential) in [("anna", ANNA), ("ben", BEN)] {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(credential.as_bytes()));
        builder = builder.set(&format!("reveal.operator.{name}.sha256={digest}"));
    }
    for set in more {
        builder = builder.set(set);
    }
    builder.ground()
}

/// `tidegate token …` with this credential and input: its exit code, standard output, standard error.
fn token(admin: SocketAddr, credential: &str, args: &str, input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("token").args(args.split(' ').map(|arg| arg.replace('_', " "))).arg("--admin").arg(admin.to_string());
    command.env("TIDEGATE_OPERATOR_CREDENTIAL", credential);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that wants no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The tokens that a partner gets: of order, mail, account, what is stored, and the pseudonym.
async fn tokens(process: &Process, ground: &Ground, partner: &str) -> [String; 5] {
    let seen = process.partner(ground, partner).get("/v1/record").await.json();
    ["id", "mail", "account", "kept", "who"].map(|name| seen[name].as_str().unwrap().to_owned())
}

const ASK: &str = "reveal --operator anna --reason case_7 --partner parcelo";

/// The `reveal` lines of the record.
fn recorded(ground: &Ground) -> Vec<serde_json::Value> {
    ground.record().into_iter().filter(|line| line["kind"] == "reveal").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_every_kind_are_turned_back_for_a_named_operator_and_the_record_says_so() {
    let upstream = Upstream::json(RECORD).start().await;
    let ground = ground(&upstream, &["reveal.rate=9"]);
    let process = Process::start(&ground).await;
    let admin = process.admin_address();
    let [order, mail, account, kept, who] = tokens(&process, &ground, "parcelo").await;
    let canary = |label: &str| upstream.canary(label);
    let ask = |is: &str, input: &str| token(admin, ANNA, &format!("{ASK} --is {is}"), input);
    for (is, token, label) in [
        ("id.order", &order, "order"),
        ("contact.email", &mail, "email"),
        ("id.account --as digits", &account, "digits"),
        ("id.customer", &kept, "customer"),
    ] {
        let told = ask(is, &format!("{token}\n"));
        assert_eq!(told, (0, format!("{}\n", canary(label)), String::new()), "{is}");
    }
    // Several at once are one act and one entry; what cannot be turned back is told as that.
    let input = format!("{order}\n{who}\n{kept}\nnonsense\n");
    let (code, out, _) = ask("id.order", &input);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len(), lines[0]), (1, 4, canary("order").as_str()));
    assert!(lines[1].contains("a pseudonym: it is made to be turned back by nobody"), "{out}");
    assert!(lines[2..].iter().all(|line| line.starts_with("# not turned back: no token of this partner and category")));
    let entries = recorded(&ground);
    assert_eq!(entries.len(), 5);
    let last = &entries[4];
    let says = ["act", "operator", "reason", "partner", "category"].map(|name| last[name].as_str().unwrap());
    assert_eq!(says, ["revealed", "anna", "case 7", "parcelo", "id.order"]);
    let digest = |token: &str| data_encoding::HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
    let digests: Vec<String> = [&order, &who, &kept, "nonsense"].into_iter().map(digest).collect();
    assert_eq!(last["tokens"], serde_json::json!(digests));
    assert!(process.log().contains("an operator has tokens turned back"));
    // The ninth and last token of the hour; the tenth is one too many, of this operator.
    assert_eq!(ask("id.order", &order).0, 0);
    let (code, out, said) = ask("id.order", &order);
    assert!(code == 2 && out.is_empty() && said.contains("`reveal.rate`"), "{said}");
    let ben = format!("{ASK} --is id.order").replace("anna", "ben");
    assert_eq!(token(admin, BEN, &ben, &order).0, 0);
    assert_eq!(recorded(&ground).len(), 7, "what was refused is no reveal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_is_told_anything_and_without_the_record_nobody() {
    let upstream = Upstream::json(RECORD).start().await;
    let ground = ground(&upstream, &["reveal.rate=100000"]);
    let process = Process::start(&ground).await;
    let admin = process.admin_address();
    let [order, _, _, _, _] = tokens(&process, &ground, "parcelo").await;
    let [foreign, ..] = tokens(&process, &ground, "admira").await;
    let ask = format!("{ASK} --is id.order");
    let keys = || std::fs::read_dir(ground.settings_file().with_file_name("keys")).unwrap().count();
    let before = keys();
    for (credential, args, says) in [
        (BEN, ask.clone(), "no such operator, or another credential"),
        ("", ask.clone(), "no such operator, or another credential"),
        (ANNA, ask.replace("anna", "carla"), "no such operator, or another credential"),
        (ANNA, ask.replace("parcelo", "nobody"), "there is no domain `nobody`"),
        (ANNA, ask.replace("parcelo", "../keys"), "there is no partner `../keys`"),
        (ANNA, ask.replace("case_7", "_"), "`reason` has to say why"),
        (ANNA, ask.replace("id.order", "ID/ORDER"), "`category` is none"),
        (ANNA, format!("{ask} --as rot13"), "`as` is no shape of a token"),
    ] {
        let (code, out, said) = token(admin, credential, &args, &order);
        assert_eq!((code, out.as_str()), (2, ""), "{args}");
        assert!(said.contains(says), "{args}: {said}");
    }
    assert_eq!((recorded(&ground).len(), keys()), (0, before), "and no keys were made");
    let (_, out, _) = token(admin, ANNA, &ask, &foreign);
    assert!(out.starts_with("# not turned back"), "another partner's: {out}");
    assert!(!process.log().contains(ANNA), "a credential is in no log");
    // The record goes away, as when its disk is full.
    let [record, away] = ["record", "away"].map(|name| ground.settings_file().with_file_name(name));
    drop(process);
    let process = Process::start_with(&ground, "ulimit -f 64; trap '' XFSZ;").await;
    std::fs::rename(&record, &away).unwrap();
    std::fs::write(&record, "in the way").unwrap();
    let many = format!("{order}\n").repeat(200);
    let mut told = (0, String::new(), String::new());
    for _ in 0..20 {
        told = token(process.admin_address(), ANNA, &ask, &many);
        if told.0 != 0 {
            break;
        }
    }
    let (code, out, said) = told;
    assert!(code == 2 && out.is_empty() && said.contains("the record cannot be written"), "{code}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_are_needed_where_the_settings_ask_for_it() {
    let upstream = Upstream::json(RECORD).start().await;
    let ground = ground(&upstream, &["reveal.two_operators=true"]);
    let process = Process::start(&ground).await;
    let admin = process.admin_address();
    let [_, _, _, kept, _] = tokens(&process, &ground, "parcelo").await;
    // What was pasted into the wrong place gets into no record, below.
    let wrong = format!("{ASK} --is id.customer").replace("parcelo", "zoe@canary");
    let (code, _, said) = token(admin, ANNA, &wrong, &kept);
    assert!(code == 2 && said.contains("there is no partner"), "{said}");
    let (code, out, said) = token(admin, ANNA, &format!("{ASK} --is id.customer"), &kept);
    assert_eq!((code, out.as_str()), (0, ""), "{said}");
    let id = said.split(' ').nth(1).unwrap().to_owned();
    let run = |credential: &str, args: &str| token(admin, credential, &args.replace("ID", &id), "");
    let refused = |credential: &str, args: &str, says: &str| {
        let (code, out, said) = run(credential, args);
        assert!(code == 2 && out.is_empty() && said.contains(says), "{args}: {code} {out} {said}");
    };
    refused(ANNA, "reveal --operator anna --request ID", "no other operator has approved it yet");
    refused(ANNA, "approve ID --operator anna --yes", "another operator has to approve");
    refused(ANNA, "approve ID --operator ben --yes", "no such operator, or another credential");
    let shown = run(BEN, "approve ID --operator ben");
    assert!(
        shown.1.contains("anna asks for 1 tokens of id.customer of partner parcelo\n  because: case 7"),
        "{shown:?}"
    );
    refused(ANNA, "reveal --operator anna --request ID", "no other operator has approved it yet");
    assert_eq!(run(BEN, "approve ID --operator ben --yes").1, "approved\n");
    refused(BEN, "reveal --operator ben --request ID", "no such request");
    let told = run(ANNA, "reveal --operator anna --request ID");
    assert_eq!((told.0, told.1), (0, format!("{}\n", upstream.canary("customer"))));
    refused(ANNA, "reveal --operator anna --request ID", "no such request");
    let entries = recorded(&ground);
    let said: Vec<_> =
        entries.iter().map(|entry| (entry["act"].as_str().unwrap(), entry["approver"].as_str())).collect();
    assert_eq!(said, [("asked", None), ("approved", Some("ben")), ("revealed", Some("ben"))]);
    assert!(entries.iter().all(|entry| entry["request"] == id.as_str() && entry["operator"] == "anna"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_is_gone_and_a_request_ends_with_its_time() {
    let upstream = Upstream::json(RECORD).start().await;
    let ground = ground(&upstream, &[]);
    let process = Process::start(&ground).await;
    let [_, _, _, kept, _] = tokens(&process, &ground, "parcelo").await;
    drop(process);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["forget", "--all", "--domain", "parcelo", "--config"]).arg(ground.settings_file());
    command.args(ground.set().iter().flat_map(|set| ["--set", set]));
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let process = Process::start(&ground).await;
    let (code, out, _) = token(process.admin_address(), ANNA, &format!("{ASK} --is id.customer"), &kept);
    assert_eq!((code, out.as_str()), (1, "# gone: it was erased, or has ended\n"));

    let builder = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("crm", &upstream).set("vault.kind=embedded");
    let digest = |credential: &str| data_encoding::HEXLOWER.encode(&Sha256::digest(credential.as_bytes()));
    let builder = builder.set(&format!("reveal.operator.anna.sha256={}", digest(ANNA)));
    let builder = builder.set(&format!("reveal.operator.ben.sha256={}", digest(BEN)));
    let builder = builder.set("reveal.two_operators=true").set("reveal.within=10m").at("2026-11-24T10:00:00Z");
    let tidegate = builder.start().await;
    let admin = tidegate.app().admin_address().unwrap();
    let run = async |credential: &'static str, args: String| {
        tokio::task::spawn_blocking(move || token(admin, credential, &args, "tk1_x")).await.unwrap()
    };
    let ask = async || {
        let said = run(ANNA, format!("{ASK} --is id.order")).await.2;
        said.split(' ').nth(1).unwrap().to_owned()
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!(run(BEN, format!("approve {first} --operator ben --yes")).await.0, 0);
    tidegate.set_time("2026-11-24T10:10:01Z");
    for (credential, args) in [
        (BEN, format!("approve {second} --operator ben --yes")),
        (ANNA, format!("reveal --operator anna --request {first}")),
    ] {
        let (code, _, said) = run(credential, args).await;
        assert!(code == 2 && said.contains("no such request, or its time is over"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_off_until_the_settings_name_operators() {
    let upstream = Upstream::json(RECORD).start().await;
    let ground =
        Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("crm", &upstream).set("vault.kind=embedded").ground();
    let process = Process::start(&ground).await;
    let (code, out, said) = token(process.admin_address(), ANNA, &format!("{ASK} --is id.order"), "tk1_x");
    assert!(code == 2 && out.is_empty() && said.contains("lets no operator turn tokens back"), "{said}");
}

#[test]
fn a_credential_is_made_with_what_the_settings_keep_of_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["token", "credential", "anna"]).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let credential = out.lines().nth(1).unwrap().trim();
    assert!(credential.len() == 52 && out.contains("[reveal.operator.anna]"), "{}", credential.len());
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(credential.as_bytes()));
    assert!(out.contains(&format!("sha256 = \"{digest}\"")));
}
