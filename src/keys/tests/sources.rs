//! Roots that are not in the folder: a variable, and a key service that has its bad days.

use std::time::{Duration, Instant};

use super::fake::{Fake, ROLE, ROLE_SECRET, TOKEN, Wrong};
use super::*;
use crate::keys::source::{Settings, Source};
use crate::keys::transit::{Credential, Login};

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

impl Place {
    fn environment(&self, value: &str) -> Settings {
        let root = Source::Environment { variable: "TIDEGATE_ROOT_KEY".to_owned(), value: secret(value) };
        Settings { folder: self.folder.clone(), root }
    }

    pub(super) fn transit(&self, url: &str, login: Login) -> Settings {
        let settings = transit::Settings {
            url: url.parse().unwrap(),
            ca: None,
            mount: "transit".to_owned(),
            key: "tidegate".to_owned(),
            namespace: None,
            login,
            timeout: Duration::from_secs(5),
        };
        Settings { folder: self.folder.clone(), root: Source::Transit(Box::new(settings)) }
    }

    fn with_token(&self, fake: &Fake) -> Settings {
        self.transit(&format!("http://{}", fake.address), Login::Token(Credential::Here(secret(TOKEN))))
    }
}

/// A folder that was made over a fake.
fn over(fake: &Fake) -> (Place, Settings) {
    let place = place();
    let settings = place.with_token(fake);
    source::init(&settings).unwrap();
    (place, settings)
}

const ROOT_VALUE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn a_root_in_the_environment_is_in_no_file() {
    let place = place();
    let settings = place.environment(ROOT_VALUE);
    source::init(&settings).unwrap();
    let ring = KeyRing::open_source(&settings).unwrap();
    let before = print(&ring, "parcelo");
    ring.rotate(&domain("parcelo"), false).unwrap();
    let again = KeyRing::open_source(&place.environment(&format!(" {ROOT_VALUE}\n"))).unwrap();
    assert_eq!((again.tags().expose_secret(), again.list().unwrap().len()), (ring.tags().expose_secret(), 2));
    let old = again.epochs(&domain("parcelo")).unwrap()[1].derive("test", &[]);
    assert_eq!(*old.expose_secret(), before);
    for file in fs::read_dir(&place.folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(&ROOT_VALUE[..16]), "{text}");
    }
    assert!(!format!("{settings:?}").contains(&ROOT_VALUE[..16]));
}

#[test]
fn a_wrong_root_is_found_before_anything_is_wrapped_by_it() {
    let place = place();
    let settings = place.environment(ROOT_VALUE);
    assert!(message(KeyRing::open_source(&settings)).contains("there is no key folder here"));
    source::init(&settings).unwrap();
    assert!(message(source::init(&settings)).contains("there is a root key already"));
    let other = ROOT_VALUE.replace("00", "11");
    assert!(message(KeyRing::open_source(&place.environment(&other))).contains("does not belong to the root key"));
    for wrong in ["", "secret", &ROOT_VALUE[1..], &format!("{ROOT_VALUE}00"), "tidegate root-key v1 00 00"] {
        let said = message(KeyRing::open_source(&place.environment(wrong)));
        assert!(said.contains("what the variable `TIDEGATE_ROOT_KEY` holds is no root key"), "{said}");
    }
}

#[test]
fn a_folder_is_not_taken_for_one_of_another_source() {
    let (fake, by_root) = (Fake::start(), made());
    let said = message(KeyRing::open_source(&by_root.environment(ROOT_VALUE)));
    assert!(said.contains("made for another source of keys than `environment`: correct `keys.source`"), "{said}");
    let by_variable = place();
    source::init(&by_variable.environment(ROOT_VALUE)).unwrap();
    assert!(message(by_variable.ring()).contains("made for another source of keys than `folder`"));
    assert!(message(init(&by_variable.folder)).contains("there is a root key already"));
    let said = message(KeyRing::open_source(&by_variable.with_token(&fake)));
    assert!(said.contains("made for another source of keys"), "{said}");
    assert_eq!(fake.asked(), [] as [String; 0], "nothing was sent");
    let (place, _) = over(&fake);
    assert!(message(KeyRing::open_source(&place.environment(ROOT_VALUE))).contains("made for another source"));
}

#[test]
fn a_key_service_wraps_and_unwraps_and_the_root_never_comes_to_us() {
    let fake = Fake::start();
    let (place, settings) = over(&fake);
    let ring = KeyRing::open_source(&settings).unwrap();
    let first = print(&ring, "parcelo");
    // The service's own key is rotated: new secrets by the new version, old ones go on.
    fake.rotate("tidegate");
    ring.rotate(&domain("parcelo"), false).unwrap();
    let text = |name: &str| fs::read_to_string(place.folder.join(name)).unwrap();
    assert!(text("parcelo@1.key").contains("tidegate domain-secret transit-v1 parcelo 1 vault:v1:"));
    assert!(text("parcelo@2.key").contains("tidegate domain-secret transit-v1 parcelo 2 vault:v2:"));
    let again = KeyRing::open_source(&settings).unwrap();
    assert_eq!(*again.epochs(&domain("parcelo")).unwrap()[1].derive::<32>("test", &[]).expose_secret(), first);
    assert_eq!(again.tags().expose_secret(), ring.tags().expose_secret());
    assert_eq!(place.ring().err().map(|error| error.to_string().contains("another source")), Some(true));
    ring.destroy(&domain("parcelo"), None, None).unwrap();
    assert!(message(KeyRing::open_source(&settings).unwrap().domain(&domain("parcelo"))).contains("was destroyed"));
    let seen = fake.state.lock().unwrap().seen.clone();
    assert!(
        seen.contains("x-vault-request: true") && !seen.contains("parcelo"),
        "names are inside what is wrapped: {seen}"
    );
}

#[test]
fn one_secret_cannot_take_the_place_of_another() {
    let fake = Fake::start();
    let (place, settings) = over(&fake);
    let ring = KeyRing::open_source(&settings).unwrap();
    print(&ring, "parcelo");
    let good = fs::read_to_string(place.secret()).unwrap();
    for (name, text) in [
        ("adnet@1.key", good.clone()),
        ("adnet@1.key", good.replace(" parcelo 1 ", " adnet 1 ")),
        ("parcelo@2.key", good.replace(" parcelo 1 ", " parcelo 2 ")),
    ] {
        fs::write(place.folder.join(name), text).unwrap();
        place.chmod(&place.folder.join(name), 0o600);
        let (ring, domain) = (KeyRing::open_source(&settings).unwrap(), domain(name.split('@').next().unwrap()));
        assert!(message(ring.domain(&domain)).contains("does not belong"), "{name}");
        fs::remove_file(place.folder.join(name)).unwrap();
    }
    for wrong in ["vault:v1:", "vault:vx:abc", "vault:v1", "plain"] {
        let cut = good.find("vault:").unwrap();
        fs::write(place.secret(), format!("{}{wrong}\n", &good[..cut])).unwrap();
        let said = message(KeyRing::open_source(&settings).unwrap().domain(&domain("parcelo")));
        assert!(said.contains("not a domain secret file, or damaged"), "{wrong}: {said}");
    }
}

#[test]
fn a_role_logs_in_and_again_when_its_token_has_run_out() {
    let fake = Fake::start();
    let place = place();
    let role = |secret_id: &str| Login::AppRole {
        mount: "approle".to_owned(),
        role: ROLE.to_owned(),
        secret: Credential::Here(secret(secret_id)),
    };
    let url = format!("http://{}", fake.address);
    let settings = place.transit(&url, role(ROLE_SECRET));
    source::init(&settings).unwrap();
    let ring = KeyRing::open_source(&settings).unwrap();
    print(&ring, "parcelo");
    fake.asked();
    fake.state.lock().unwrap().tokens.clear();
    print(&ring, "adnet");
    let (encrypt, decrypt) = ("POST /v1/transit/encrypt/tidegate", "POST /v1/transit/decrypt/tidegate");
    assert_eq!(fake.asked(), [encrypt, "POST /v1/auth/approle/login", encrypt, decrypt]);
    // A login has its bad moments, too.
    let login = "POST /v1/auth/approle/login";
    let program = || {
        let opened = KeyRing::open_source(&settings);
        (opened.map(drop).map_err(|error| error.to_string()), fake.asked())
    };
    for moment in [Wrong::Status(500), Wrong::Status(503), Wrong::Status(429), Wrong::HangUp] {
        fake.go_wrong(&[moment]);
        let (opened, asked) = program();
        opened.unwrap_or_else(|error| panic!("{moment:?}: {error}"));
        assert_eq!(asked, [login, login, decrypt], "{moment:?}");
    }
    fake.go_wrong(&[Wrong::Status(503); 8]);
    let (opened, asked) = program();
    assert!(opened.unwrap_err().contains("is sealed or not ready (503)"));
    assert_eq!(asked, [login; 4], "tries are bounded");
    fake.go_wrong(&[]);
    let said = message(KeyRing::open_source(&place.transit(&url, role("wrong"))));
    assert!(said.contains("did not take the role: `role_id` or `secret_id` is wrong"), "{said}");
}

#[test]
fn a_token_in_a_file_is_read_again_when_it_is_refused() {
    let fake = Fake::start();
    let place = place();
    let file = place.folder.with_file_name("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    place.chmod(&file, 0o600);
    let settings = place.transit(&format!("http://{}", fake.address), Login::Token(Credential::File(file.clone())));
    source::init(&settings).unwrap();
    let ring = KeyRing::open_source(&settings).unwrap();
    print(&ring, "parcelo");
    {
        let mut state = fake.state.lock().unwrap();
        state.tokens.clear();
        state.tokens.insert("s.renewed".to_owned());
    }
    let said = message(ring.domain(&domain("adnet")));
    assert!(said.contains("denied access (403)"), "{said}");
    fs::write(&file, "s.renewed").unwrap();
    print(&ring, "adnet");
    place.chmod(&file, 0o644);
    fake.state.lock().unwrap().tokens.clear();
    assert!(message(ring.domain(&domain("admira"))).contains("can be read by others"));
}

#[test]
fn a_bad_moment_is_outlived_and_a_bad_day_is_told_in_our_own_words() {
    let fake = Fake::start();
    let (_place, settings) = over(&fake);
    let open = || KeyRing::open_source(&settings);
    for moment in [Wrong::Status(500), Wrong::Status(502), Wrong::Status(503), Wrong::Status(429), Wrong::HangUp] {
        fake.go_wrong(&[moment]);
        open().unwrap_or_else(|error| panic!("{moment:?}: {error}"));
        assert_eq!(fake.asked().len(), 2, "{moment:?}");
    }
    for (wrong, said, asked) in [
        (Wrong::Status(503), "is sealed or not ready (503)", 4),
        (Wrong::Status(500), "answered with status 500", 4),
        (Wrong::Status(418), "answered with status 418", 1),
        (Wrong::Status(404), "has no such mount or key (404)", 1),
        (Wrong::Status(400), "did not unwrap this secret (400)", 1),
        (Wrong::Status(302), "answered with status 302", 1),
        (Wrong::Garbage, "cannot be understood", 4),
        (Wrong::TooLong, "cannot be understood", 4),
        (Wrong::Nonsense, "does not belong to the root key", 1),
    ] {
        fake.go_wrong(&[wrong; 8]);
        let message = message(open());
        assert!(message.contains(said), "{wrong:?}: {message}");
        assert!(message.contains("program.key") && !message.contains("canary"), "{message}");
        assert_eq!(fake.asked().len(), asked, "{wrong:?}: tries are bounded");
    }
    fake.go_wrong(&[]);
    fake.state.lock().unwrap().sealed = true;
    assert!(message(open()).contains("unseal it"));
    fake.state.lock().unwrap().sealed = false;
    fake.rotate("tidegate");
    fake.state.lock().unwrap().keys.get_mut("tidegate").unwrap().1 = 2;
    assert!(message(open()).contains("below the least allowed"));
    open().err();
}

#[test]
fn a_service_that_hangs_or_is_not_there_is_given_up_in_time() {
    let fake = Fake::start();
    let (place, settings) = over(&fake);
    let hasty = |mut settings: Settings| {
        if let Source::Transit(transit) = &mut settings.root {
            transit.timeout = Duration::from_millis(300);
        }
        settings
    };
    fake.go_wrong(&[Wrong::Hang; 8]);
    let start = Instant::now();
    assert!(message(KeyRing::open_source(&hasty(settings))).contains("did not answer in time"));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = place.transit(&format!("http://{nobody}"), Login::Token(Credential::Here(secret(TOKEN))));
    assert!(message(KeyRing::open_source(&hasty(nobody))).contains("cannot be reached"));
}

#[test]
fn a_service_that_does_not_wrap_leaves_nothing_behind() {
    let fake = Fake::start();
    let (place, settings) = over(&fake);
    let ring = KeyRing::open_source(&settings).unwrap();
    let key = fake.state.lock().unwrap().keys.remove("tidegate").unwrap();
    assert!(message(ring.domain(&domain("parcelo"))).contains("denied access"));
    fake.go_wrong(&[Wrong::Status(400)]);
    assert!(message(ring.domain(&domain("parcelo"))).contains("did not wrap a secret (400)"));
    fake.go_wrong(&[Wrong::Nonsense]);
    assert!(message(ring.domain(&domain("parcelo"))).contains("cannot be understood"));
    assert_eq!(fs::read_dir(&place.folder).unwrap().count(), 1);
    fake.state.lock().unwrap().keys.insert("tidegate".to_owned(), key);
    print(&ring, "parcelo");
}

#[tokio::test]
async fn a_ring_over_a_service_may_be_used_and_dropped_anywhere() {
    let fake = Fake::start();
    let (_place, settings) = over(&fake);
    print(&KeyRing::open_source(&settings).unwrap(), "parcelo");
}
