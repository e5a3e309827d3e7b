//! What every store promises. A kind of store gives a [`Place`]; `conformance!` makes its tests.

use std::future::Future;
use std::sync::Arc;

use tidegate::vault::store::{Entry, Forget, Forgotten, Page, SEALED_MAX, Spelling, TokenStore};

use crate::entries::{all, digest, entry, number_of, rival, subject, token};

/// Where a store is, empty at first and nobody else's.
pub(crate) trait Place: Sized + Send + Sync {
    /// Makes one.
    fn new() -> impl Future<Output = Self> + Send;
    /// A handle on what is there, independent of others as far as the kind of store has that.
    fn open(&self) -> impl Future<Output = Arc<dyn TokenStore>> + Send;
    /// Called with all handles dropped: ends what keeps the store in memory, so that the next handle reads what was durable.
    fn restart(&self) -> impl Future<Output = ()> + Send;
}

/// The tests of a kind of store; `lasting` for those whose entries outlive a restart.
macro_rules! conformance {
    ($place:ty, $($kind:ident),*) => {
        $(conformance!(@$kind $place);)*
    };
    (@always $place:ty) => {
        conformance!(@tests $place: the_first_token_of_a_value_wins, both_handles_of_a_race_get_the_same_token,
            tokens_are_found_in_the_order_of_the_question, a_known_value_gets_the_new_subjects,
            many_subjects_share_a_value, what_is_forgotten_is_gone_and_nothing_else_is,
            what_was_forgotten_can_be_put_again, forgetting_goes_in_steps, a_token_of_another_value_is_refused,
            a_visit_sees_every_entry_once, entries_are_kept_as_they_are, long_values_are_kept_and_longer_ones_refused,
            large_batches_are_one_call, a_dropped_answer_does_no_harm, times_that_go_back_do_no_harm, health_is_told,
            nothing_is_asked_and_answered);
    };
    (@lasting $place:ty) => {
        conformance!(@tests $place: what_was_acknowledged_is_there_after_a_restart, what_was_forgotten_stays_gone);
    };
    (@tests $place:ty: $($name:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::conformance::$name(<$place as $crate::conformance::Place>::new().await).await;
            }
        )*
    };
}

/// Values as entries, each in a place of its own.
async fn put(store: &Arc<dyn TokenStore>, entries: &[Entry]) {
    let tokens: Vec<_> = entries.iter().map(|entry| entry.token).collect();
    assert_eq!(store.put_if_absent(entries).await.unwrap(), tokens);
}

async fn kept(store: &Arc<dyn TokenStore>, number: u64) -> Option<Entry> {
    store.find(&[token(number, 0)]).await.unwrap().remove(0)
}

pub(crate) async fn the_first_token_of_a_value_wins(place: impl Place) {
    let (one, other) = (place.open().await, place.open().await);
    put(&one, &[entry(1), entry(2)]).await;
    let late = [rival(2, 1), entry(3), rival(1, 1)];
    assert_eq!(other.put_if_absent(&late).await.unwrap(), [token(2, 0), token(3, 0), token(1, 0)]);
    assert_eq!(one.put_if_absent(&[rival(3, 7)]).await.unwrap(), [token(3, 0)]);
    // What did not win is not kept.
    assert_eq!(other.find(&[token(2, 1), token(1, 1), token(3, 7)]).await.unwrap(), [None, None, None]);
    assert_eq!(all(&one, 10).await.len(), 3);
}

pub(crate) async fn both_handles_of_a_race_get_the_same_token(place: impl Place) {
    const BATCH: u64 = 20;
    let (one, other) = (place.open().await, place.open().await);
    let races = number_of("TIDEGATE_STORE_RACES", 4000);
    let (mut wins, mut first) = ([0, 0], 0);
    while first < races {
        // Both have the same values, in different order, so that whoever locks one by one would block the other.
        let mine: Vec<_> = (first..first + BATCH).map(|number| rival(number, 0)).collect();
        let theirs: Vec<_> = (first..first + BATCH).rev().map(|number| rival(number, 1)).collect();
        let rivals = [(Arc::clone(&one), mine), (Arc::clone(&other), theirs)];
        let racing = rivals.map(|(store, entries)| tokio::spawn(async move { store.put_if_absent(&entries).await }));
        let [mine, theirs] = racing;
        let (mine, mut theirs) = (mine.await.unwrap().unwrap(), theirs.await.unwrap().unwrap());
        theirs.reverse();
        assert_eq!(mine, theirs, "values from {first}");
        for (number, won) in (first..).zip(&mine) {
            let variant = [0, 1].into_iter().find(|variant| token(number, *variant) == *won);
            wins[usize::try_from(variant.expect("one of the two")).unwrap()] += 1;
        }
        let found = one.find(&mine).await.unwrap();
        assert!(found.iter().all(Option::is_some), "a token that was given out is kept");
        first += BATCH;
    }
    println!("{first} races: {} won by one handle, {} by the other", wins[0], wins[1]);
}

pub(crate) async fn tokens_are_found_in_the_order_of_the_question(place: impl Place) {
    let store = place.open().await;
    put(&store, &[entry(1), entry(2), entry(3)]).await;
    let asked = [token(3, 0), token(9, 0), token(1, 0), token(3, 0), token(1, 1)];
    let found = place.open().await.find(&asked).await.unwrap();
    assert_eq!(found, [Some(entry(3)), None, Some(entry(1)), Some(entry(3)), None]);
}

pub(crate) async fn a_known_value_gets_the_new_subjects(place: impl Place) {
    let (store, other) = (place.open().await, place.open().await);
    put(&store, &[Entry { subjects: vec![subject(1)], ..entry(1) }]).await;
    let again = Entry { subjects: vec![subject(2), subject(1)], issued_ms: 99, sealed: vec![9], ..rival(1, 1) };
    assert_eq!(other.put_if_absent(std::slice::from_ref(&again)).await.unwrap(), [token(1, 0)]);
    assert_eq!(store.put_if_absent(&[again]).await.unwrap(), [token(1, 0)]);
    let mut found = kept(&store, 1).await.unwrap();
    found.subjects.sort_unstable();
    let mut subjects = vec![subject(1), subject(2)];
    subjects.sort_unstable();
    assert_eq!(found, Entry { subjects, ..entry(1) }, "nothing else of it changes");
    assert_eq!(store.forget(&Forget::Subject(subject(2)), 9).await.unwrap(), [entry(1).forgotten()]);
    assert_eq!(other.forget(&Forget::Subject(subject(1)), 9).await.unwrap(), []);
}

pub(crate) async fn many_subjects_share_a_value(place: impl Place) {
    let (store, count) = (place.open().await, 300);
    for first in (0..count).step_by(20) {
        // Some come twice, and some of them in one call.
        let subjects = |from: u64| (from..from + 12).map(subject).collect::<Vec<_>>();
        let shared = Entry { subjects: subjects(first), ..entry(1) };
        assert_eq!(store.put_if_absent(&[shared]).await.unwrap(), [token(1, 0)]);
        let both = [Entry { subjects: subjects(first + 8), ..entry(1) }, entry(first + 5)];
        assert_eq!(store.put_if_absent(&both).await.unwrap(), [token(1, 0), token(first + 5, 0)]);
    }
    let mut found = kept(&store, 1).await.unwrap().subjects;
    found.sort_unstable();
    let mut expected: Vec<_> = (0..count).map(subject).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(all(&store, 7).await.iter().find(|entry| entry.digest == digest(1)).unwrap().subjects.len(), 300);
    assert_eq!(store.forget(&Forget::Subject(subject(count - 1)), 9).await.unwrap(), [entry(1).forgotten()]);
    for gone in [subject(0), subject(40), subject(count - 2)] {
        assert_eq!(store.forget(&Forget::Subject(gone), 9).await.unwrap(), [], "nothing leads to it any more");
    }
}

/// Six entries in two domains, of two persons, some with an end.
fn mixed() -> Vec<Entry> {
    let of = |number: u64| Entry {
        domain: [u8::try_from(number % 2).unwrap(); 16],
        epoch: if number > 4 { 2 } else { 1 },
        spelling: [Spelling::Opaque, Spelling::Mail, Spelling::Uuid][usize::try_from(number % 3).unwrap()],
        subjects: if number < 3 { vec![] } else { vec![subject(number / 3), subject(9)] },
        ends_ms: (number > 3).then_some(100 + number),
        ..entry(number)
    };
    (1..=6).map(of).collect()
}

pub(crate) async fn what_is_forgotten_is_gone_and_nothing_else_is(place: impl Place) {
    let (store, other) = (place.open().await, place.open().await);
    let cases: [(Forget, &[u64]); 13] = [
        (Forget::Values(vec![digest(1), digest(8), digest(4)]), &[1, 4]),
        (Forget::Values(vec![]), &[]),
        (Forget::Tokens(vec![token(8, 0), token(6, 0), token(2, 0), token(1, 1)]), &[2, 6]),
        (Forget::Subject(subject(1)), &[3, 4, 5]),
        (Forget::Subject(subject(9)), &[3, 4, 5, 6]),
        (Forget::Subject(subject(8)), &[]),
        (Forget::Domain([1; 16], None), &[1, 3, 5]),
        (Forget::Domain([1; 16], Some(1)), &[1, 3]),
        (Forget::Domain([7; 16], None), &[]),
        (Forget::IssuedBefore(3), &[1, 2]),
        (Forget::IssuedBefore(u64::MAX), &[1, 2, 3, 4, 5, 6]),
        (Forget::EndedBefore(105), &[4]),
        (Forget::EndedBefore(u64::MAX), &[4, 5, 6]),
    ];
    for (what, expected) in cases {
        put(&store, &mixed()).await;
        let _warm = other.find(&mixed().iter().map(|entry| entry.token).collect::<Vec<_>>()).await.unwrap();
        let mut sought = store.seek(&what, 10).await.unwrap();
        assert_eq!(all(&other, 10).await.len(), 6, "to seek forgets nothing");
        let mut gone = store.forget(&what, 10).await.unwrap();
        let of = |number: &u64| mixed()[usize::try_from(number - 1).unwrap()].forgotten();
        let mut forgotten: Vec<Forgotten> = expected.iter().map(of).collect();
        forgotten.sort_unstable_by_key(|forgotten| forgotten.token);
        gone.sort_unstable_by_key(|forgotten| forgotten.token);
        sought.sort_unstable_by_key(|forgotten| forgotten.token);
        assert_eq!((&gone, &sought), (&forgotten, &forgotten), "{what:?}");
        for number in 1..=6 {
            let is_kept = kept(&other, number).await.is_some();
            assert_eq!(is_kept, !expected.contains(&number), "{what:?}: {number}");
        }
        assert_eq!(store.forget(&what, 10).await.unwrap(), [], "{what:?}: nothing is left");
        store.forget(&Forget::IssuedBefore(u64::MAX), 10).await.unwrap();
        assert_eq!(all(&store, 10).await, [], "{what:?}");
    }
}

pub(crate) async fn what_was_forgotten_can_be_put_again(place: impl Place) {
    let (store, other) = (place.open().await, place.open().await);
    put(&store, &[Entry { subjects: vec![subject(1)], ends_ms: Some(5), ..entry(1) }]).await;
    assert_eq!(other.put_if_absent(&[rival(1, 1)]).await.unwrap(), [token(1, 0)]);
    store.forget(&Forget::Values(vec![digest(1)]), 1).await.unwrap();
    assert_eq!(other.put_if_absent(&[rival(1, 2)]).await.unwrap(), [token(1, 2)]);
    assert_eq!(store.find(&[token(1, 0), token(1, 2)]).await.unwrap(), [None, Some(rival(1, 2))]);
    for what in [Forget::Subject(subject(1)), Forget::EndedBefore(9)] {
        assert_eq!(store.forget(&what, 9).await.unwrap(), [], "of the old one nothing is left");
    }
}

pub(crate) async fn forgetting_goes_in_steps(place: impl Place) {
    let store = place.open().await;
    let of = |number| Entry { subjects: vec![subject(1)], ends_ms: Some(1), ..entry(number) };
    let kinds = |numbers: Vec<u64>| {
        let digests = numbers.iter().map(|number| digest(*number)).collect();
        let tokens = numbers.iter().map(|number| token(*number, 0)).collect();
        [
            Forget::Domain([0; 16], None),
            Forget::IssuedBefore(u64::MAX),
            Forget::EndedBefore(2),
            Forget::Subject(subject(1)),
            Forget::Values(digests),
            Forget::Tokens(tokens),
        ]
    };
    for what in kinds((0..50).collect()) {
        let mut bystander = of(1000);
        (bystander.domain, bystander.issued_ms, bystander.ends_ms) = ([9; 16], u64::MAX >> 1, Some(9));
        bystander.subjects.clear();
        put(&store, &(0..50).map(of).collect::<Vec<_>>()).await;
        assert_eq!(store.forget(&what, 0).await.unwrap(), []);
        assert_eq!(store.seek(&what, 0).await.unwrap(), []);
        assert_eq!(store.seek(&what, 20).await.unwrap().len(), 20, "{what:?}");
        assert_eq!(store.seek(&what, 60).await.unwrap().len(), 50, "{what:?}");
        assert_eq!(store.forget(&what, 20).await.unwrap().len(), 20, "{what:?}");
        // Comes in while others go.
        put(&store, &[bystander.clone()]).await;
        assert_eq!(store.forget(&what, 20).await.unwrap().len(), 20, "{what:?}");
        let rest = store.forget(&what, 20).await.unwrap().len();
        // One that was issued meanwhile may be gone, too.
        assert!(rest == 10 || matches!(what, Forget::IssuedBefore(_)) && rest == 11, "{what:?}: {rest}");
        store.forget(&Forget::Tokens(vec![bystander.token]), 1).await.unwrap();
        assert_eq!(all(&store, 10).await, []);
    }
}

pub(crate) async fn a_token_of_another_value_is_refused(place: impl Place) {
    let store = place.open().await;
    put(&store, &[entry(1)]).await;
    let clash = Entry { token: token(1, 0), ..entry(2) };
    let error = store.put_if_absent(std::slice::from_ref(&clash)).await.unwrap_err();
    assert!(error.to_string().contains("the token is another value's"), "{error}");
    assert_eq!(kept(&store, 1).await, Some(entry(1)));
    assert_eq!(store.forget(&Forget::Values(vec![digest(2)]), 1).await.unwrap(), []);
    // The store goes on.
    put(&store, &[entry(2)]).await;
}

pub(crate) async fn a_visit_sees_every_entry_once(place: impl Place) {
    let store = place.open().await;
    assert_eq!(store.visit(None, 10).await.unwrap(), Page::default());
    let subjects = |number: u64| (0..number % 4).map(subject).collect();
    let mut entries: Vec<_> = (0..100).map(|number| Entry { subjects: subjects(number), ..entry(number) }).collect();
    put(&store, &entries).await;
    entries.sort_unstable_by_key(|entry| entry.token);
    for page in [1, 7, 100, 1000] {
        let mut seen = all(&store, page).await;
        seen.iter_mut().for_each(|entry| entry.subjects.sort_unstable());
        let mut expected = entries.clone();
        expected.iter_mut().for_each(|entry| entry.subjects.sort_unstable());
        assert_eq!(seen, expected, "pages of {page}");
    }
    assert_eq!(store.visit(Some([255; 16]), 10).await.unwrap(), Page::default());
    assert_eq!(store.visit(None, 0).await.unwrap(), Page::default());
}

pub(crate) async fn entries_are_kept_as_they_are(place: impl Place) {
    let store = place.open().await;
    let extreme = |number, sealed: Vec<u8>, issued_ms, ends_ms, epoch, spelling| Entry {
        digest: if number == 1 { [0; 32] } else { [255; 32] },
        token: if number == 1 { [0; 16] } else { [255; 16] },
        domain: [255; 16],
        sealed,
        subjects: vec![[0; 16], [255; 16]],
        issued_ms,
        ends_ms,
        epoch,
        spelling,
    };
    let last = u64::try_from(i64::MAX).unwrap();
    let entries = [
        extreme(1, vec![], 0, Some(0), 0, Spelling::Mail),
        extreme(2, vec![0, 255, 10, 13, 39, 92, 36], last, Some(last), u32::MAX, Spelling::Uuid),
    ];
    put(&store, &entries).await;
    let mut found = store.find(&[[0; 16], [255; 16]]).await.unwrap();
    found.iter_mut().flatten().for_each(|entry| entry.subjects.sort_unstable());
    assert_eq!(found, entries.map(Some));
}

pub(crate) async fn long_values_are_kept_and_longer_ones_refused(place: impl Place) {
    let store = place.open().await;
    let of = |number: u8, bytes| Entry { sealed: vec![number; bytes], ..entry(u64::from(number)) };
    put(&store, &[of(1, SEALED_MAX)]).await;
    put(&store, &[of(2, 1 << 20), of(3, 0)]).await;
    let found = store.find(&[token(1, 0), token(2, 0), token(3, 0)]).await.unwrap();
    assert!(found == [Some(of(1, SEALED_MAX)), Some(of(2, 1 << 20)), Some(of(3, 0))]);
    let error = store.put_if_absent(&[of(4, SEALED_MAX + 1)]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "put_if_absent: a sealed value of 16777217 bytes is too long: at most 16777216 are kept"
    );
    put(&store, &[of(5, 5)]).await;
}

pub(crate) async fn large_batches_are_one_call(place: impl Place) {
    let store = place.open().await;
    let entries: Vec<_> =
        (0..5000).map(|number| Entry { subjects: vec![subject(number / 10)], ..entry(number) }).collect();
    put(&store, &entries).await;
    put(&store, &entries).await;
    let tokens: Vec<_> = entries.iter().rev().map(|entry| entry.token).collect();
    let found = store.find(&tokens).await.unwrap();
    assert!(found.into_iter().eq(entries.into_iter().rev().map(Some)));
}

pub(crate) async fn a_dropped_answer_does_no_harm(place: impl Place) {
    let store = place.open().await;
    for number in 0..200 {
        let batch = [entry(2 * number), entry(2 * number + 1)];
        let mut put = std::pin::pin!(store.put_if_absent(&batch));
        // Polled some times, and let go of.
        for _ in 0..number % 4 {
            tokio::select! {
                biased;
                _ = put.as_mut() => break,
                () = tokio::task::yield_now() => {}
            }
        }
    }
    for number in 0..400 {
        let won = store.put_if_absent(&[rival(number, 1)]).await.unwrap().remove(0);
        assert_eq!(store.find(&[won]).await.unwrap().remove(0).map(|entry| entry.digest), Some(digest(number)));
    }
    assert_eq!(all(&store, 100).await.len(), 400, "none by half, none twice");
}

pub(crate) async fn times_that_go_back_do_no_harm(place: impl Place) {
    let store = place.open().await;
    put(&store, &[Entry { issued_ms: 1 << 50, ..entry(1) }]).await;
    put(&store, &[Entry { issued_ms: 5, ..entry(2) }]).await;
    assert_eq!(store.put_if_absent(&[Entry { issued_ms: 1, ..rival(1, 1) }]).await.unwrap(), [token(1, 0)]);
    assert_eq!(kept(&store, 1).await.unwrap().issued_ms, 1 << 50);
    assert_eq!(store.forget(&Forget::IssuedBefore(6), 9).await.unwrap(), [entry(2).forgotten()]);
}

pub(crate) async fn health_is_told(place: impl Place) {
    let store = place.open().await;
    store.health().await.unwrap();
    assert_eq!(all(&store, 10).await, [], "and leaves nothing that looks like a token");
}

pub(crate) async fn nothing_is_asked_and_answered(place: impl Place) {
    let store = place.open().await;
    assert!(store.put_if_absent(&[]).await.unwrap().is_empty());
    assert!(store.find(&[]).await.unwrap().is_empty());
    assert!(store.forget(&Forget::Tokens(vec![]), 10).await.unwrap().is_empty());
}

pub(crate) async fn what_was_acknowledged_is_there_after_a_restart(place: impl Place) {
    let entries: Vec<_> = (0..200).map(|number| Entry { subjects: vec![subject(number)], ..entry(number) }).collect();
    for round in 0..4 {
        let store = place.open().await;
        for batch in entries[50 * round..][..50].chunks(7) {
            put(&store, batch).await;
        }
        let more = Entry { subjects: vec![subject(1000 + u64::try_from(round).unwrap())], ..entry(0) };
        store.put_if_absent(&[more]).await.unwrap();
        drop(store);
        place.restart().await;
        let store = place.open().await;
        for entry in &entries[..50 * (round + 1)] {
            let mut found = store.find(&[entry.token]).await.unwrap().remove(0).expect("acknowledged");
            found.subjects.truncate(1);
            assert_eq!(found, *entry);
        }
        assert_eq!(kept(&store, 0).await.unwrap().subjects.len(), round + 2);
    }
    let store = place.open().await;
    let late: Vec<_> = (0..200).map(|number| rival(number, 1)).collect();
    let tokens: Vec<_> = entries.iter().map(|entry| entry.token).collect();
    assert_eq!(store.put_if_absent(&late).await.unwrap(), tokens, "values are still known");
}

pub(crate) async fn what_was_forgotten_stays_gone(place: impl Place) {
    let store = place.open().await;
    put(&store, &mixed()).await;
    store.forget(&Forget::Subject(subject(9)), 9).await.unwrap();
    drop(store);
    place.restart().await;
    let store = place.open().await;
    assert_eq!(all(&store, 10).await.len(), 2);
    assert_eq!(store.put_if_absent(&[rival(5, 1)]).await.unwrap(), [token(5, 1)]);
}
