//! Keys in a folder, raced for, damaged, loosened and lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Barrier;

use super::*;

mod epochs;
mod fake;
mod openbao;
mod sources;

struct Place {
    folder: PathBuf,
    _temporary: tempfile::TempDir,
}

/// A folder that does not exist yet.
fn place() -> Place {
    let temporary = tempfile::tempdir().unwrap();
    Place { folder: temporary.path().join("keys"), _temporary: temporary }
}

/// A folder with a root key.
fn made() -> Place {
    let place = place();
    init(&place.folder).unwrap();
    place
}

impl Place {
    fn root(&self) -> PathBuf {
        self.folder.join(folder::ROOT)
    }
    fn secret(&self) -> PathBuf {
        self.folder.join("parcelo@1.key")
    }
    fn ring(&self) -> Result<KeyRing, Error> {
        KeyRing::open(&self.folder)
    }
    fn chmod(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn domain(name: &str) -> DomainId {
    DomainId::parse(name).unwrap()
}

/// Something by which two secrets can be told apart.
fn print(ring: &KeyRing, name: &str) -> [u8; 32] {
    *ring.domain(&domain(name)).unwrap().derive("test", &[]).expose_secret()
}

/// The whole message, which must hold no run of hex digits that could be key material.
fn message(result: Result<impl Sized, Error>) -> String {
    let error = result.err().expect("a refusal");
    let message = error.to_string();
    let longest = message.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest < Some(24), "{message}");
    assert!(!format!("{error:?}").contains("[secret]"), "not even a wiped key is in an error");
    message
}

#[test]
fn init_makes_a_folder_and_a_root_key_that_only_the_owner_can_read() {
    let place = made();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&place.folder), mode(&place.root())), (0o700, 0o600));
    let text = fs::read_to_string(place.root()).unwrap();
    assert!(text.contains("\ntidegate root-key v1 "), "{text}");
    assert_eq!(fs::read_dir(&place.folder).unwrap().count(), 1, "no unfinished file is left");
    print(&place.ring().unwrap(), "parcelo");
    assert_eq!(mode(&place.secret()), 0o600);
    assert_eq!(fs::read_dir(&place.folder).unwrap().count(), 3);
}

#[test]
fn init_never_touches_a_root_key_or_takes_the_place_of_a_lost_one() {
    let place = made();
    let before = fs::read(place.root()).unwrap();
    assert!(message(init(&place.folder)).contains("there is a root key already"));
    assert_eq!(fs::read(place.root()).unwrap(), before);
    print(&place.ring().unwrap(), "parcelo");
    fs::remove_file(place.root()).unwrap();
    assert!(message(init(&place.folder)).contains("without their root key"));
    assert!(message(place.ring()).contains("there is no root key here"));
    assert!(!place.root().exists());
}

#[test]
fn a_secret_is_made_once_and_is_the_same_ever_after() {
    let place = made();
    let (first, second) = (place.ring().unwrap(), place.ring().unwrap());
    let parcelo = print(&first, "parcelo");
    assert_eq!(parcelo, print(&first, "parcelo"));
    assert_eq!(parcelo, print(&second, "parcelo"));
    assert_ne!(parcelo, print(&first, "adnet"));
    assert_eq!(second.list().unwrap(), [(domain("adnet"), Epoch::FIRST), (domain("parcelo"), Epoch::FIRST)]);
}

#[test]
fn derived_keys_differ_by_purpose_and_by_each_part() {
    let secret = made().ring().unwrap().domain(&domain("parcelo")).unwrap();
    let of = |purpose: &str, parts: &[&str]| *secret.derive::<64>(purpose, parts).expose_secret();
    let all = [
        of("sealed", &[]),
        of("sealed", &[""]),
        of("sealed", &["", ""]),
        of("sealed", &["a", "b"]),
        of("sealed", &["ab", ""]),
        of("sealed", &["ab"]),
        of("seale", &["dab"]),
    ];
    assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    assert_eq!(of("sealed", &["a", "b"]), all[3]);
}

#[test]
fn rings_that_race_for_a_new_domain_agree() {
    let place = made();
    for round in 0..20 {
        let name = format!("domain-{round}");
        let barrier = Barrier::new(8);
        let found: Vec<_> = std::thread::scope(|scope| {
            let race = || {
                let ring = place.ring().unwrap();
                barrier.wait();
                print(&ring, &name)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|print| *print == found[0]));
        assert_eq!(print(&place.ring().unwrap(), &name), found[0]);
    }
    assert_eq!(fs::read_dir(&place.folder).unwrap().count(), 41, "no unfinished file is left");
}

#[test]
fn two_that_run_init_at_once_leave_one_root_key() {
    for _ in 0..20 {
        let place = place();
        let barrier = Barrier::new(4);
        let made = std::thread::scope(|scope| {
            let race = || {
                barrier.wait();
                init(&place.folder).is_ok()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            threads.into_iter().filter(|_| true).map(|thread| thread.join().unwrap()).filter(|made| *made).count()
        });
        assert_eq!(made, 1);
        place.ring().unwrap();
    }
}

#[test]
fn loose_permissions_are_refused_with_the_command_that_mends_them() {
    let place = made();
    print(&place.ring().unwrap(), "parcelo");
    for (path, loose, tight) in [
        (place.folder.clone(), 0o750, 0o700),
        (place.root(), 0o640, 0o600),
        (place.root(), 0o602, 0o600),
        (place.secret(), 0o644, 0o600),
    ] {
        place.chmod(&path, loose);
        let said = message(place.ring());
        assert!(
            said.contains(&format!("mode {loose:04o} lets others in: run `chmod {tight:o} '{}'`", path.display())),
            "{said}"
        );
        place.chmod(&path, tight);
        place.ring().unwrap();
    }
    place.chmod(&place.folder, 0o701);
    assert!(message(init(&place.folder)).contains("chmod 700"));
}

#[test]
fn a_file_that_becomes_loose_later_is_refused_when_it_is_read() {
    let place = made();
    print(&place.ring().unwrap(), "parcelo");
    let ring = place.ring().unwrap();
    place.chmod(&place.secret(), 0o644);
    assert!(message(ring.domain(&domain("parcelo"))).contains("chmod 600"));
}

#[test]
fn what_is_missing_or_of_another_kind_is_named() {
    let place = place();
    assert!(message(place.ring()).contains("there is no key folder here: make one with `tidegate keys init`"));
    fs::write(&place.folder, "").unwrap();
    assert!(message(place.ring()).contains("expected a folder"));
    assert!(message(init(&place.folder)).contains("expected a folder"));
    let place = made();
    fs::remove_file(place.root()).unwrap();
    assert!(message(place.ring()).contains("there is no root key here"));
    fs::create_dir(place.root()).unwrap();
    assert!(message(place.ring()).contains("expected a plain file"));
}

#[test]
fn strange_files_are_refused_and_unfinished_ones_ignored() {
    let place = made();
    fs::write(place.folder.join(".new-0123"), "").unwrap();
    place.ring().unwrap();
    for name in ["root.key~", "notes.txt", "Parcelo@1.key", "parcelo.key", "@1.key"] {
        let stranger = place.folder.join(name);
        fs::write(&stranger, "").unwrap();
        assert!(message(place.ring()).contains("does not belong in a key folder"), "{name}");
        fs::remove_file(stranger).unwrap();
    }
    for name in ["parcelo@0.key", "parcelo@01.key", "parcelo@+1.key", "parcelo@x.key", "parcelo@4294967296.destroyed"] {
        let stranger = place.folder.join(name);
        fs::write(&stranger, "").unwrap();
        assert!(message(place.ring()).contains("is no epoch"), "{name}");
        fs::remove_file(stranger).unwrap();
    }
}

#[test]
fn every_change_of_a_root_key_file_is_found_and_prints_no_key() {
    let place = made();
    let good = fs::read_to_string(place.root()).unwrap();
    let line = good.lines().last().unwrap();
    let [_, _, _, key, check] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("five words") };
    let damaged = "the root key is damaged (its checksum does not match)";
    let garbled = "not a root key file, or damaged";
    let flipped = if key.starts_with('0') { key.replacen('0', "1", 1) } else { format!("0{}", &key[1..]) };
    for (text, wanted) in [
        (good.replace(key, &flipped), damaged),
        (good.replace(check, "00000000"), damaged),
        (good.replace(key, &key[1..]), garbled),
        (good.replace(key, &format!("{key}00")), garbled),
        (good.replace(key, &format!("{}zz", &key[2..])), garbled),
        (good.replace(" v1 ", " v2 "), garbled),
        (good.replace("root-key", "domain-secret"), garbled),
        (good.replace(check, ""), garbled),
        (format!("{good}{line}\n"), garbled),
        (format!("{good}#{}", " ".repeat(5000)), "not a key file, or damaged"),
        (String::new(), garbled),
        (key.to_owned(), garbled),
    ] {
        fs::write(place.root(), &text).unwrap();
        let said = message(place.ring());
        assert!(said.contains(wanted), "{said}");
        assert!(!said.contains(&key[..16]));
    }
    fs::write(place.root(), [0xff, 0xfe, 0x00]).unwrap();
    assert!(message(place.ring()).contains("not a key file, or damaged"));
    // A backup may have come through a mail system.
    fs::write(place.root(), good.replace('\n', "\r\n").replace(key, &key.to_uppercase())).unwrap();
    place.ring().unwrap();
}

#[test]
fn a_secret_of_another_root_domain_or_epoch_is_refused_and_never_replaced() {
    let place = made();
    let before = print(&place.ring().unwrap(), "parcelo");
    let good = fs::read_to_string(place.secret()).unwrap();
    let other = made();
    print(&other.ring().unwrap(), "parcelo");
    let last = good.trim_end().chars().last().unwrap();
    let flipped = format!("{}{}\n", &good.trim_end()[..good.trim_end().len() - 1], if last == '0' { '1' } else { '0' });
    for (text, wanted) in [
        (fs::read_to_string(other.secret()).unwrap(), "does not belong to the root key beside it"),
        (good.replace("v1 parcelo 1", "v1 adnet 1"), "does not belong to the root key beside it"),
        (good.replace("v1 parcelo 1", "v1 parcelo 2"), "does not belong to the root key beside it"),
        (flipped, "was changed"),
        (good.replace("v1 parcelo", "v9 parcelo"), "not a domain secret file"),
        (good[..good.len() - 10].to_owned(), "not a domain secret file"),
        (String::new(), "not a domain secret file"),
    ] {
        fs::write(place.secret(), &text).unwrap();
        let said = message(place.ring().unwrap().domain(&domain("parcelo")));
        assert!(said.contains(wanted), "{said}");
        assert_eq!(fs::read_to_string(place.secret()).unwrap(), text);
    }
    fs::write(place.secret(), &good).unwrap();
    assert_eq!(print(&place.ring().unwrap(), "parcelo"), before);
    // A file that was given another's name, outside alone and inside too.
    fs::rename(place.secret(), place.folder.join("adnet@1.key")).unwrap();
    assert!(message(place.ring().unwrap().domain(&domain("adnet"))).contains("does not belong"));
    fs::write(place.folder.join("adnet@1.key"), good.replace("v1 parcelo", "v1 adnet")).unwrap();
    assert!(message(place.ring().unwrap().domain(&domain("adnet"))).contains("does not belong"));
}

#[test]
fn a_secret_that_cannot_be_kept_is_not_given_out() {
    let place = made();
    let ring = place.ring().unwrap();
    fs::remove_dir_all(&place.folder).unwrap();
    assert!(message(ring.domain(&domain("parcelo"))).contains("there is no key folder here"));
    assert!(
        message(ring.domain(&domain("parcelo"))).contains("there is no key folder here"),
        "and was not remembered either"
    );
}

#[test]
fn keys_do_not_print() {
    let place = made();
    let ring = place.ring().unwrap();
    let secret = ring.domain(&domain("parcelo")).unwrap();
    let text = fs::read_to_string(place.root()).unwrap();
    let key = text.lines().last().unwrap().split(' ').nth(3).unwrap();
    for print in [format!("{ring:?}"), format!("{secret:?}"), format!("{:?}", secret.derive::<32>("test", &[]))] {
        assert!(print.contains("[secret]") && !print.contains(&key[..8]), "{print}");
    }
}
