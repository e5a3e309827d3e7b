//! The real key service: OpenBao, where `TIDEGATE_OPENBAO` names its program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::keys::transit::{Credential, Login};

/// A server in memory, which ends with the test.
struct Bao {
    program: String,
    child: Child,
    url: String,
    _home: tempfile::TempDir,
}

impl Drop for Bao {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bao {
    fn start(program: &str) -> Self {
        // It takes no port 0; should another have it by then, the test says so.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = tempfile::tempdir().unwrap();
        let listen = format!("-dev-listen-address=127.0.0.1:{port}");
        let mut child = Command::new(program)
            .args(["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", &listen])
            .env("HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("Development mode should NOT"));
        assert!(ready, "OpenBao did not start");
        std::thread::spawn(move || lines.for_each(drop));
        Self { program: program.to_owned(), child, url: format!("http://127.0.0.1:{port}"), _home: home }
    }

    fn run(&self, line: &str) -> String {
        let mut command = Command::new(&self.program);
        let command = command.args(line.split(' ')).env("BAO_ADDR", &self.url).env("BAO_TOKEN", "root");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn policy(&self, folder: &Path) {
        let file = folder.with_file_name("policy.hcl");
        let may = "{ capabilities = [\"update\"] }";
        let text = format!("path \"transit/encrypt/tidegate\" {may}\npath \"transit/decrypt/tidegate\" {may}\n");
        fs::write(&file, text).unwrap();
        self.run(&format!("policy write tidegate {}", file.display()));
    }
}

fn here(text: &str) -> Credential {
    Credential::Here(Secret::new(text.to_owned()))
}

#[test]
fn the_real_service_does_what_the_fake_does() {
    let Ok(program) = std::env::var("TIDEGATE_OPENBAO") else {
        println!("skipped: TIDEGATE_OPENBAO names no `bao`");
        return;
    };
    let (bao, place) = (Bao::start(&program), place());
    bao.run("secrets enable transit");
    bao.policy(&place.folder);
    let token = bao.run("token create -policy=tidegate -no-default-policy -ttl=1h -field=token");
    let by_token = |token: &str| place.transit(&bao.url, Login::Token(here(token)));

    assert!(
        message(source::init(&by_token(&token))).contains("denied access (403)"),
        "no key: it may not be made by us"
    );
    bao.run("write -f transit/keys/tidegate");
    source::init(&by_token(&token)).unwrap();
    let ring = KeyRing::open_source(&by_token(&token)).unwrap();
    let first = print(&ring, "parcelo");
    assert!(fs::read_to_string(place.secret()).unwrap().contains(" vault:v1:"));
    bao.run("write -f transit/keys/tidegate/rotate");
    ring.rotate(&domain("parcelo"), false).unwrap();
    assert!(fs::read_to_string(place.folder.join("parcelo@2.key")).unwrap().contains(" vault:v2:"));
    let again = KeyRing::open_source(&by_token(&token)).unwrap();
    assert_eq!(*again.epochs(&domain("parcelo")).unwrap()[1].derive::<32>("test", &[]).expose_secret(), first);

    // A role.
    bao.run("auth enable approle");
    bao.run("write auth/approle/role/tidegate token_policies=tidegate token_ttl=1h");
    let role = bao.run("read -field=role_id auth/approle/role/tidegate/role-id");
    let secret = bao.run("write -f -field=secret_id auth/approle/role/tidegate/secret-id");
    let by_role = |secret: &str| {
        let (mount, role) = ("approle".to_owned(), role.clone());
        place.transit(&bao.url, Login::AppRole { mount, role, secret: here(secret) })
    };
    let ring = KeyRing::open_source(&by_role(&secret)).unwrap();
    assert_eq!(ring.epochs(&domain("parcelo")).unwrap().len(), 2);
    assert!(message(KeyRing::open_source(&by_role("wrong"))).contains("did not take the role"));

    // What is wrong.
    assert!(message(KeyRing::open_source(&by_token("s.wrong"))).contains("denied access (403)"));
    let good = fs::read_to_string(place.secret()).unwrap();
    let changed = if good.contains("vault:v1:A") { "vault:v1:B" } else { "vault:v1:A" };
    let start = good.find("vault:v1:").unwrap();
    fs::write(place.secret(), format!("{}{changed}{}", &good[..start], &good[start + 10..])).unwrap();
    let ring = KeyRing::open_source(&by_token(&token)).unwrap();
    assert!(message(ring.domain(&domain("parcelo"))).contains("did not unwrap this secret (400)"));
    fs::write(place.secret(), &good).unwrap();
    bao.run("write transit/keys/tidegate/config min_decryption_version=2");
    assert!(message(KeyRing::open_source(&by_token(&token))).contains("did not unwrap this secret (400)"));
    bao.run("write transit/keys/tidegate/config min_decryption_version=1");
    bao.run("operator seal");
    assert!(message(KeyRing::open_source(&by_token(&token))).contains("is sealed or not ready (503)"));
}
