//! Rotations, the end of epochs and of domains, and a machine that dies at every step of them.

use super::super::change::{After, ending};
use super::super::files::death;
use super::*;

impl Place {
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // What was made is told beside.
        let mut names: Vec<_> = names.filter(|name| !name.ends_with(".made")).collect();
        names.sort();
        names
    }
    fn unfinished(&self) -> usize {
        self.files().iter().filter(|name| name.starts_with(".new-")).count()
    }
}

/// The living epochs of a domain, the newest first, each with something by which its secret can be told.
fn prints(ring: &KeyRing, name: &str) -> Vec<(u32, [u8; 32])> {
    let epochs = ring.epochs(&domain(name)).unwrap();
    epochs.iter().map(|secret| (secret.epoch().0, *secret.derive("test", &[]).expose_secret())).collect()
}

fn rotate(place: &Place, name: &str) -> u32 {
    place.ring().unwrap().rotate(&domain(name), false).unwrap().epoch().0
}

#[test]
fn a_rotation_adds_an_epoch_and_keeps_the_others() {
    let place = made();
    let ring = place.ring().unwrap();
    let first = prints(&ring, "parcelo");
    print(&ring, "adnet");
    assert_eq!(rotate(&place, "parcelo"), 2);
    assert_eq!(prints(&ring, "parcelo"), first, "a ring reads again when it is asked to");
    let stamp = ring.stamp();
    ring.refresh().unwrap();
    assert_ne!(ring.stamp(), stamp);
    let second = prints(&ring, "parcelo");
    assert_eq!((second[0].0, second[1]), (2, first[0]));
    assert_eq!(second, prints(&place.ring().unwrap(), "parcelo"));
    let stamp = ring.stamp();
    ring.refresh().unwrap();
    assert_eq!(ring.stamp(), stamp);
    assert_eq!(
        ring.list().unwrap(),
        [(domain("adnet"), Epoch(1)), (domain("parcelo"), Epoch(1)), (domain("parcelo"), Epoch(2))]
    );
    assert_eq!(place.files(), ["adnet@1.key", "parcelo@1.key", "parcelo@2.key", "root.key"]);
}

#[test]
fn epochs_are_in_the_order_of_their_numbers() {
    let place = made();
    print(&place.ring().unwrap(), "parcelo");
    for epoch in 2..=12 {
        assert_eq!(rotate(&place, "parcelo"), epoch);
    }
    let found: Vec<u32> = prints(&place.ring().unwrap(), "parcelo").into_iter().map(|(epoch, _)| epoch).collect();
    assert_eq!(found, (1..=12).rev().collect::<Vec<_>>());
}

#[test]
fn those_who_rotate_at_once_agree() {
    let place = made();
    print(&place.ring().unwrap(), "parcelo");
    for round in 0..10 {
        let barrier = Barrier::new(4);
        let found: Vec<_> = std::thread::scope(|scope| {
            let race = || {
                let ring = place.ring().unwrap();
                barrier.wait();
                let secret = ring.rotate(&domain("parcelo"), false).unwrap();
                (secret.epoch(), *secret.derive::<32>("test", &[]).expose_secret())
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let kept = prints(&place.ring().unwrap(), "parcelo");
        assert!(kept.len() > round + 1);
        for (epoch, print) in found {
            assert!(kept.contains(&(epoch.0, print)), "what a rotation gave is what is kept");
        }
    }
}

#[test]
fn a_domain_that_was_destroyed_is_not_made_anew_until_somebody_says_so() {
    let place = made();
    let before = prints(&place.ring().unwrap(), "parcelo");
    rotate(&place, "parcelo");
    let ring = place.ring().unwrap();
    assert_eq!(ring.destroy(&domain("parcelo"), None, None).unwrap(), [Epoch(1), Epoch(2)]);
    assert_eq!(place.files(), ["parcelo@2.destroyed", "root.key"]);
    for ring in [&ring, &place.ring().unwrap()] {
        for said in [message(ring.domain(&domain("parcelo"))), message(ring.rotate(&domain("parcelo"), false))] {
            assert!(said.contains("`parcelo` was destroyed"), "{said}");
            assert!(said.contains("tidegate keys rotate parcelo --begin-anew"), "{said}");
        }
        assert_eq!((ring.list().unwrap(), ring.destroyed().unwrap()), (vec![], vec![(domain("parcelo"), Epoch(2))]));
    }
    assert_eq!(place.files(), ["parcelo@2.destroyed", "root.key"], "nothing was made");
    assert_eq!(ring.rotate(&domain("parcelo"), true).unwrap().epoch(), Epoch(3));
    let after = prints(&place.ring().unwrap(), "parcelo");
    assert_eq!((after.len(), after[0].0), (1, 3));
    assert_ne!(after[0].1, before[0].1);
    assert!(message(ring.rotate(&domain("parcelo"), true)).contains("was not destroyed"));
}

#[test]
fn what_comes_back_from_a_backup_stays_dead_and_is_named() {
    let place = made();
    let ring = place.ring().unwrap();
    print(&ring, "parcelo");
    let backup = fs::read(place.secret()).unwrap();
    ring.destroy(&domain("parcelo"), None, None).unwrap();
    fs::write(place.secret(), &backup).unwrap();
    place.chmod(&place.secret(), 0o600);
    let ring = place.ring().unwrap();
    let source = folder::Folder::open(&place.folder).unwrap();
    assert!(
        source.load(&domain("parcelo"), Epoch(1)).unwrap().is_none(),
        "not even where it is asked for by its number"
    );
    assert!(message(ring.domain(&domain("parcelo"))).contains("was destroyed"));
    assert_eq!(ring.remains().unwrap(), [(domain("parcelo"), Epoch(1))]);
    // Also beside a new beginning, which takes it away.
    ring.rotate(&domain("parcelo"), true).unwrap();
    assert_eq!(place.files(), ["parcelo@1.destroyed", "parcelo@2.key", "root.key"]);
    fs::write(place.secret(), &backup).unwrap();
    place.chmod(&place.secret(), 0o600);
    assert_eq!(prints(&place.ring().unwrap(), "parcelo").len(), 1);
}

#[test]
fn old_epochs_end_and_the_newest_only_with_its_domain() {
    let place = made();
    let ring = place.ring().unwrap();
    print(&ring, "parcelo");
    for _ in 0..3 {
        rotate(&place, "parcelo");
    }
    assert_eq!(ring.destroy(&domain("parcelo"), Some(Epoch(2)), None).unwrap(), [Epoch(1), Epoch(2)]);
    let living: Vec<u32> = prints(&ring, "parcelo").into_iter().map(|(epoch, _)| epoch).collect();
    assert_eq!(living, [4, 3]);
    for newest in [4, 5] {
        let said = message(ring.destroy(&domain("parcelo"), Some(Epoch(newest)), None));
        assert!(said.contains("living epochs 3, 4"), "{said}");
    }
    assert!(message(ring.destroy(&domain("nobody"), None, None)).contains("there is no domain `nobody`"));
    assert!(message(ring.rotate(&domain("nobody"), false)).contains("there is no domain `nobody`"));
    assert_eq!(rotate(&place, "parcelo"), 5);
    assert_eq!(ring.destroy(&domain("parcelo"), None, None).unwrap(), [3, 4, 5].map(Epoch));
    assert!(message(ring.destroy(&domain("parcelo"), Some(Epoch(5)), None)).contains("was destroyed"));
    assert_eq!(ring.destroy(&domain("parcelo"), None, None).unwrap(), [], "once more: there is nothing left");
}

#[test]
fn a_tombstone_that_is_not_whole_is_refused() {
    let place = made();
    let ring = place.ring().unwrap();
    print(&ring, "parcelo");
    ring.destroy(&domain("parcelo"), None, None).unwrap();
    let stone = place.folder.join("parcelo@1.destroyed");
    for text in ["", "tidegate destroyed v1 parcelo 2\n", "tidegate destroyed v1 adnet 1\n"] {
        fs::write(&stone, text).unwrap();
        assert!(message(place.ring()).contains("record of a destroyed domain"), "{text}");
    }
}

/// What a machine that dies at a step, at every step, leaves: `check` is given the folder after each death, and whether the
/// act said that it was done.
fn at_every_step(prepare: impl Fn(&Place), act: impl Fn(&KeyRing) -> bool, check: impl Fn(&Place, bool)) -> usize {
    for steps in 0.. {
        let place = made();
        prepare(&place);
        let ring = place.ring().unwrap();
        let (done, taken) = death::after(steps, || act(&ring));
        check(&place, done);
        if done {
            assert!(taken.len() <= steps);
            return taken.len();
        }
        assert!(steps < 100, "it ends");
    }
    unreachable!()
}

fn two_epochs(place: &Place) {
    print(&place.ring().unwrap(), "parcelo");
    print(&place.ring().unwrap(), "adnet");
    rotate(place, "parcelo");
}

#[test]
fn a_rotation_that_dies_happened_or_did_not_and_nothing_is_lost() {
    let steps = at_every_step(
        two_epochs,
        |ring| ring.rotate(&domain("parcelo"), false).is_ok(),
        |place, done| {
            let living = prints(&place.ring().unwrap(), "parcelo");
            assert!(living.len() == 3 || living.len() == 2 && !done, "{living:?}");
            assert_eq!(rotate(place, "parcelo"), living[0].0 + 1, "and can be done after it");
            let after = prints(&place.ring().unwrap(), "parcelo");
            assert_eq!(after[1..], living[..]);
        },
    );
    assert_eq!(steps, 13, "begin, write, sync, link, tidy, sync folder; the same for the mark, and the old mark goes");
}

#[test]
fn a_new_domain_that_dies_is_made_by_the_next() {
    at_every_step(
        |_| (),
        |ring| ring.domain(&domain("parcelo")).is_ok(),
        |place, _| {
            let living = prints(&place.ring().unwrap(), "parcelo");
            assert_eq!(prints(&place.ring().unwrap(), "parcelo"), living);
        },
    );
}

#[test]
fn a_destruction_that_dies_leaves_all_alive_or_all_dead_and_can_be_finished() {
    let steps = at_every_step(
        |place| {
            two_epochs(place);
            // What an earlier crash left: a second name of a secret.
            fs::hard_link(place.secret(), place.folder.join(".new-0123")).unwrap();
        },
        |ring| ring.destroy(&domain("parcelo"), None, None).is_ok(),
        |place, done| {
            let ring = place.ring().unwrap();
            match ring.epochs(&domain("parcelo")) {
                Ok(epochs) => assert!(epochs.len() == 2 && !done),
                Err(error) => assert!(matches!(error.fault, Fault::Destroyed(_)), "{error}"),
            }
            assert_eq!(prints(&ring, "adnet").len(), 1, "others are left alone");
            if done {
                assert_eq!(place.files(), ["adnet@1.key", "parcelo@2.destroyed", "root.key"]);
            }
            place.ring().unwrap().destroy(&domain("parcelo"), None, None).unwrap();
            assert_eq!(place.files(), ["adnet@1.key", "parcelo@2.destroyed", "root.key"]);
            assert!(message(place.ring().unwrap().domain(&domain("parcelo"))).contains("was destroyed"));
        },
    );
    assert_eq!(steps, 11, "six for the tombstone, one for each file, and the folder");
}

#[test]
fn a_secret_goes_only_after_the_tombstone_is_durable() {
    let place = made();
    two_epochs(&place);
    let ring = place.ring().unwrap();
    let (done, steps) = death::after(100, || ring.destroy(&domain("parcelo"), None, None));
    done.unwrap();
    let wanted = ["begin", "write", "sync", "link", "tidy", "sync folder", "remove", "remove", "remove", "sync folder"];
    assert_eq!(steps, wanted);
    assert_eq!(place.unfinished(), 0);
}

#[test]
fn a_new_beginning_that_dies_never_brings_the_old_back() {
    at_every_step(
        |place| {
            two_epochs(place);
            let ring = place.ring().unwrap();
            // Cut off before the files were gone.
            let (done, _) = death::after(6, || ring.destroy(&domain("parcelo"), None, None));
            assert!(done.is_err() && ring.remains().unwrap().len() == 2);
        },
        |ring| ring.rotate(&domain("parcelo"), true).is_ok(),
        |place, done| match place.ring().unwrap().epochs(&domain("parcelo")) {
            Ok(epochs) => assert_eq!(epochs.iter().map(|s| s.epoch().0).collect::<Vec<_>>(), [3]),
            Err(_) => assert!(!done),
        },
    );
}

impl Place {
    fn put(&self, name: &str, text: &[u8]) {
        fs::write(self.folder.join(name), text).unwrap();
        self.chmod(&self.folder.join(name), 0o600);
    }
}

/// All that a reading again complains of.
fn wrong(ring: &KeyRing) -> Vec<String> {
    ring.refresh().err().unwrap_or_default().into_iter().map(|error| message(Err::<(), _>(error))).collect()
}

#[test]
fn a_secret_whose_file_goes_missing_is_kept_told_and_never_made_anew() {
    let place = made();
    let ring = place.ring().unwrap();
    let (before, stamp) = (prints(&ring, "parcelo"), ring.stamp());
    let backup = fs::read(place.secret()).unwrap();
    fs::remove_file(place.secret()).unwrap();
    for _ in 0..2 {
        let wrong = wrong(&ring);
        assert!(wrong.len() == 1 && wrong[0].contains("Restore `parcelo@1.key` from the backup"), "{wrong:?}");
        assert_eq!((prints(&ring, "parcelo"), ring.stamp()), (before.clone(), stamp.clone()));
        assert!(message(ring.rotate(&domain("parcelo"), false)).contains("is gone"));
        assert_eq!(place.files(), ["root.key"], "nothing was made");
    }
    place.put("parcelo@1.key", &backup);
    assert_eq!(wrong(&ring), [] as [String; 0]);
    assert_eq!((prints(&ring, "parcelo"), ring.stamp()), (before, stamp));
}

#[test]
fn a_number_that_was_lost_is_not_given_to_another_secret() {
    let place = made();
    let ring = place.ring().unwrap();
    print(&ring, "parcelo");
    ring.rotate(&domain("parcelo"), false).unwrap();
    fs::remove_file(place.folder.join("parcelo@2.key")).unwrap();
    assert!(message(ring.rotate(&domain("parcelo"), false)).contains("epoch 2, is gone"));
    assert_eq!(place.files(), ["parcelo@1.key", "root.key"]);
}

#[test]
fn another_secret_under_the_same_number_is_noticed() {
    let place = made();
    let ring = place.ring().unwrap();
    let (before, stamp) = (prints(&ring, "parcelo"), ring.stamp());
    let backup = fs::read(place.secret()).unwrap();
    fs::remove_file(place.secret()).unwrap();
    // Somebody has taken away all that told of it.
    fs::remove_file(place.folder.join("parcelo@1.made")).unwrap();
    let other = prints(&place.ring().unwrap(), "parcelo");
    assert_eq!((wrong(&ring), other[0].0), (vec![], 1));
    assert_ne!(ring.stamp(), stamp);
    assert_eq!(prints(&ring, "parcelo"), other);
    place.put("parcelo@1.key", &backup);
    ring.refresh().unwrap();
    assert_eq!((prints(&ring, "parcelo"), ring.stamp()), (before, stamp));
}

#[test]
fn a_destruction_is_taken_whatever_is_wrong_with_the_others() {
    let place = made();
    let ring = place.ring().unwrap();
    for name in ["parcelo", "adnet", "admira"] {
        print(&ring, name);
    }
    let (ended, kept) = (ring.domain(&domain("parcelo")).unwrap(), prints(&ring, "adnet"));
    rotate(&place, "admira");
    place.ring().unwrap().destroy(&domain("parcelo"), None, None).unwrap();
    place.put("adnet@1.key", b"damaged");
    place.put("notes.txt", b"");
    let found = wrong(&ring);
    assert!(
        found.len() == 2 && found.concat().contains("notes.txt") && found.concat().contains("adnet@1.key"),
        "{found:?}"
    );
    assert!(ended.life().has_ended(), "whoever holds it is told");
    assert!(message(ring.domain(&domain("parcelo"))).contains("was destroyed"));
    assert_eq!((prints(&ring, "adnet"), prints(&ring, "admira").len()), (kept, 2));
    // Nor does it begin anew where the record of its end is lost.
    fs::remove_file(place.folder.join("parcelo@1.destroyed")).unwrap();
    wrong(&ring);
    assert!(message(ring.domain(&domain("parcelo"))).contains("was destroyed"));
}

#[test]
fn a_number_that_was_lost_is_not_given_to_another_secret_by_a_program_that_never_had_it() {
    let place = made();
    print(&place.ring().unwrap(), "parcelo");
    rotate(&place, "parcelo");
    let backup = fs::read(place.folder.join("parcelo@2.key")).unwrap();
    fs::remove_file(place.folder.join("parcelo@2.key")).unwrap();
    let fresh = place.ring().unwrap();
    let said = message(fresh.rotate(&domain("parcelo"), false));
    assert!(said.contains("epoch 2, is missing") && said.contains("Restore `parcelo@2.key`"), "{said}");
    assert_eq!(prints(&fresh, "parcelo").len(), 1, "what there is goes on");
    place.put("parcelo@2.key", &backup);
    assert_eq!(rotate(&place, "parcelo"), 3);
    // The only one.
    print(&place.ring().unwrap(), "adnet");
    fs::remove_file(place.folder.join("adnet@1.key")).unwrap();
    let fresh = place.ring().unwrap();
    for said in [message(fresh.domain(&domain("adnet"))), message(fresh.rotate(&domain("adnet"), false))] {
        assert!(said.contains("epoch 1, is missing"), "{said}");
    }
    assert_eq!(place.files(), ["parcelo@1.key", "parcelo@2.key", "parcelo@3.key", "root.key"], "nothing was made");
    // Whoever has no backup ends it, and begins anew.
    fresh.destroy(&domain("adnet"), None, None).unwrap();
    assert_eq!(fresh.rotate(&domain("adnet"), true).unwrap().epoch(), Epoch(2));
    assert_eq!(prints(&place.ring().unwrap(), "adnet").len(), 1);
}

#[test]
fn whoever_rotates_while_the_domain_is_destroyed_makes_nothing() {
    let place = made();
    let ring = place.ring().unwrap();
    print(&ring, "parcelo");
    let source = folder::Folder::open(&place.folder).unwrap();
    let key = random_key().unwrap();
    let follow = |after| message(source.create(&domain("parcelo"), after, &key));
    // Each is what a program had seen before another one came in between.
    assert!(follow(After::End(Epoch(1))).contains("at the same time"));
    ring.destroy(&domain("parcelo"), None, None).unwrap();
    assert!(follow(After::Living(Epoch(1))).contains("at the same time"));
    assert!(follow(After::Nothing).contains("was destroyed"));
    assert_eq!(place.files(), ["parcelo@1.destroyed", "root.key"]);
    ring.rotate(&domain("parcelo"), true).unwrap();
    ring.rotate(&domain("parcelo"), false).unwrap();
    assert!(follow(After::End(Epoch(3))).contains("at the same time"));
    assert!(message(source.destroy(&domain("parcelo"), Epoch(2), true)).contains("at the same time"));
    assert_eq!(place.files(), ["parcelo@1.destroyed", "parcelo@2.key", "parcelo@3.key", "root.key"]);
}

#[test]
fn no_more_ends_than_was_shown() {
    let place = made();
    let ring = place.ring().unwrap();
    print(&ring, "parcelo");
    let shown = ending(&ring.state(&domain("parcelo")).unwrap(), None);
    rotate(&place, "parcelo");
    assert!(message(ring.destroy(&domain("parcelo"), None, Some(&shown))).contains("at the same time"));
    assert_eq!(prints(&place.ring().unwrap(), "parcelo").len(), 2);
    let shown = ending(&ring.state(&domain("parcelo")).unwrap(), None);
    assert_eq!(ring.destroy(&domain("parcelo"), None, Some(&shown)).unwrap(), [Epoch(1), Epoch(2)]);
}

#[test]
fn rotations_and_destructions_at_once_leave_a_domain_that_lives_or_does_not() {
    for _ in 0..20 {
        let place = made();
        print(&place.ring().unwrap(), "parcelo");
        let barrier = Barrier::new(2);
        let (rotated, destroyed) = std::thread::scope(|scope| {
            let rotating = scope.spawn(|| {
                let ring = place.ring().unwrap();
                barrier.wait();
                ring.rotate(&domain("parcelo"), false).map(|secret| secret.epoch())
            });
            let ring = place.ring().unwrap();
            barrier.wait();
            let destroyed = ring.destroy(&domain("parcelo"), None, None);
            (rotating.join().unwrap(), destroyed)
        });
        match (rotated, destroyed) {
            (Ok(_), Ok(ended)) => assert_eq!(ended, [Epoch(1), Epoch(2)], "the rotation came first"),
            (Ok(_), Err(error)) => assert!(matches!(error.fault, Fault::Changed(_)), "{error}"),
            (Err(error), Ok(ended)) => {
                assert!(matches!(error.fault, Fault::Changed(_) | Fault::Destroyed(_)), "{error}");
                assert_eq!(ended, [Epoch(1)]);
            }
            (Err(error), Err(other)) => panic!("{error}, {other}"),
        }
        let state = place.ring().unwrap().state(&domain("parcelo")).unwrap();
        assert!(state.living.is_empty() == state.destroyed.is_some(), "{state:?}");
    }
}
