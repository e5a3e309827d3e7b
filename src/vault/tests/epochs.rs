//! Tokens of old, new, unknown and ended epochs.

use super::*;
use crate::vault::seal::siv::OPENED;

/// Processes that share a source: each has a ring of its own.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Memory>);

impl KeySource for Shared {
    fn load(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<keys::Key>, keys::Error> {
        self.0.load(domain, epoch)
    }
    fn create(
        &self,
        domain: &DomainId,
        after: keys::change::After,
        fresh: &keys::Key,
    ) -> Result<keys::Key, keys::Error> {
        self.0.create(domain, after, fresh)
    }
    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, keys::Error> {
        self.0.list()
    }
    fn destroy(&self, domain: &DomainId, through: Epoch, whole: bool) -> Result<(), keys::Error> {
        self.0.destroy(domain, through, whole)
    }
    fn derived(&self, purpose: &str) -> keys::Key {
        self.0.derived(purpose)
    }
}

impl Shared {
    fn process(&self) -> House {
        let every = std::time::Duration::from_millis(50);
        House { vault: Vault::new(Arc::new(KeyRing::beating(Box::new(self.clone()), every))) }
    }
    fn read(&self) -> usize {
        self.0.listed.load(Ordering::SeqCst)
    }
}

impl House {
    fn rotate(&self, name: &str) {
        self.vault.keys().rotate(&domain(name), false).unwrap();
    }
}

#[test]
fn after_a_rotation_new_tokens_are_new_and_old_ones_come_back() {
    let house = Shared::default().process();
    let mut tokens = Vec::new();
    for shape in [Shape::Opaque, Shape::Email] {
        tokens.push(token(&house.sealer("parcelo", "mail", shape), "anna@example.org"));
    }
    for _ in 0..3 {
        house.rotate("parcelo");
        tokens.push(token(&house.sealer("parcelo", "mail", Shape::Email), "anna@example.org"));
    }
    let opener = house.opener("parcelo", "mail");
    for token in &tokens {
        assert_eq!(open(&opener, token), (Opened::Text, "anna@example.org".to_owned()), "{token}");
        assert_eq!(open(&opener, &token.to_uppercase()).0, Opened::Text);
        assert_eq!(open(&house.opener("parcelo", "name"), token), nothing(Opened::Foreign));
        assert_eq!(open(&house.opener("adnet", "mail"), token), nothing(Opened::Foreign));
    }
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len());
    let begins: HashSet<&str> = tokens[1..].iter().map(|token| &token[..9]).collect();
    assert_eq!(begins.len(), 4, "each epoch has its key id");
}

#[test]
fn a_token_of_any_epoch_is_a_token_already() {
    let house = Shared::default().process();
    let first = token(&house.sealer("parcelo", "mail", Shape::Opaque), "anna@example.org");
    let before = house.sealer("parcelo", "mail", Shape::Opaque);
    house.rotate("parcelo");
    let second = token(&house.sealer("parcelo", "mail", Shape::Opaque), "anna@example.org");
    for shape in [Shape::Opaque, Shape::Email] {
        for token in [&first, &second] {
            assert_eq!(issue(&house.sealer("parcelo", "mail", shape), Value::Text(token)).0, Issued::Already);
        }
    }
    assert_eq!(issue(&before, Value::Text(&second)).0, Issued::Already, "also for who was bound before the rotation");
}

#[tokio::test]
async fn a_process_that_was_not_told_opens_a_token_of_a_new_epoch_once_it_has_looked() {
    let shared = Shared::default();
    let (first, second) = (shared.process(), shared.process());
    let opener = first.opener("parcelo", "name");
    second.sealer("parcelo", "name", Shape::Opaque);
    for shape in [Shape::Opaque, Shape::Email, Shape::Opaque] {
        second.rotate("parcelo");
        let fresh = token(&second.sealer("parcelo", "name", shape), "Anna");
        assert_eq!((open(&opener, &fresh), opener.is_unknown(&fresh)), (nothing(Opened::Foreign), true));
        assert!(first.sealer("parcelo", "name", Shape::Opaque).is_unknown(&fresh));
        first.vault.keys().look().await;
        let read = shared.read();
        for opener in [&opener, &first.opener("parcelo", "name")] {
            assert_eq!((open(opener, &fresh), opener.is_unknown(&fresh)), ((Opened::Text, "Anna".to_owned()), false));
        }
        assert_eq!(shared.read(), read, "read once, for all");
    }
}

#[tokio::test]
async fn all_who_look_at_once_wait_for_one_reading_that_began_after_they_asked() {
    let shared = Shared::default();
    let house = shared.process();
    house.opener("parcelo", "name");
    let before = shared.read();
    futures_util::future::join_all((0..100).map(|_| house.vault.keys().look())).await;
    let read = shared.read() - before;
    assert!((1..=2).contains(&read), "{read}");
    house.vault.keys().look().await;
    assert_eq!(shared.read(), before + read + 1, "who asks later is not told what was read before");
}

#[tokio::test]
async fn what_a_look_has_not_found_is_no_reason_for_another_one() {
    let (house, elsewhere) = (Shared::default().process(), self::house());
    let (opener, other) = (house.opener("parcelo", "name"), house.opener("adnet", "name"));
    let foreign = token(&elsewhere.sealer("parcelo", "name", Shape::Opaque), "Anna");
    let own = token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna");
    // What is damaged, or claims to be of a known epoch, is no reason at all.
    for wrong in [&own[..own.len() - 8], &own, &foreign[..40], "tk1_", "tk1_aaaaaaaaaaaa", "Anna"] {
        assert!(!opener.is_unknown(wrong), "{wrong}");
    }
    assert!(opener.is_unknown(&foreign) && other.is_unknown(&foreign));
    opener.have_looked(&foreign);
    assert!(!opener.is_unknown(&foreign) && other.is_unknown(&foreign), "of this partner alone");
    opener.have_looked(&own);
    assert_eq!(open(&opener, &own).0, Opened::Text);
    // Whoever sends ever new names does not fill the memory with them.
    for name in 0..5_000_u32 {
        let id = token::key_id(name.to_be_bytes());
        opener.have_looked(&format!("tk1_{}{}", std::str::from_utf8(&id).unwrap(), &own[9..]));
    }
}

#[test]
fn an_ended_epoch_is_foreign_after_the_keys_were_read_again() {
    let house = Shared::default().process();
    let old = token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna");
    house.rotate("parcelo");
    let new = token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna");
    house.vault.keys().destroy(&domain("parcelo"), Some(Epoch::FIRST), None).unwrap();
    let opener = house.opener("parcelo", "name");
    assert_eq!(open(&opener, &old), nothing(Opened::Foreign));
    assert_eq!(open(&opener, &new).0, Opened::Text);
}

#[test]
fn digits_stay_with_the_oldest_epoch_that_lives_and_pseudonyms_go_with_the_newest() {
    let house = Shared::default().process();
    let digits = |house: &House| {
        let opener = house.vault.opener(&domain("parcelo"), &category("account"), Some(Shape::Digits)).unwrap();
        (token(&house.sealer("parcelo", "account", Shape::Digits), "12345678"), opener)
    };
    let pseudonym = |house: &House| {
        hash(
            &house.vault.pseudonymizer(&domain("parcelo"), Some(&category("account"))).unwrap(),
            Value::Text("12345678"),
        )
    };
    let ((first, _), hashed) = (digits(&house), pseudonym(&house));
    house.rotate("parcelo");
    let (second, opener) = digits(&house);
    assert_eq!((&first, open(&opener, &first)), (&second, (Opened::Text, "12345678".to_owned())));
    assert_ne!(hashed, pseudonym(&house));
    house.vault.keys().destroy(&domain("parcelo"), Some(Epoch::FIRST), None).unwrap();
    let (third, opener) = digits(&house);
    assert_ne!(first, third);
    assert_eq!(open(&opener, &third), (Opened::Text, "12345678".to_owned()));
    assert_ne!(open(&opener, &first).1, "12345678");
}

#[test]
fn whatever_is_wrong_with_a_token_the_cipher_runs_once_and_the_answer_is_one() {
    let (house, elsewhere) = (Shared::default().process(), self::house());
    let of =
        |house: &House, domain: &str, category: &str| token(&house.sealer(domain, category, Shape::Opaque), "Anna");
    let old = of(&house, "parcelo", "name");
    house.rotate("parcelo");
    let ended = of(&house, "parcelo", "name");
    house.rotate("parcelo");
    let new = of(&house, "parcelo", "name");
    house.vault.keys().destroy(&domain("parcelo"), Some(Epoch(2)), None).unwrap();
    let opener = house.opener("parcelo", "name");
    let count = |text: &str| {
        let before = OPENED.get();
        (open(&opener, text), OPENED.get() - before)
    };
    assert_eq!(count(&new), ((Opened::Text, "Anna".to_owned()), 1));
    let tampered = |at: usize| {
        let mut text = new.clone().into_bytes();
        text[at] = if text[at] == b'a' { b'b' } else { b'a' };
        String::from_utf8(text).unwrap()
    };
    for wrong in [
        &old,
        &ended,
        &of(&house, "parcelo", "card"),
        &of(&house, "adnet", "name"),
        &of(&elsewhere, "parcelo", "name"),
        &tampered(6),
        &tampered(12),
        &tampered(new.len() - 1),
        &new[..20],
        &new[..new.len() - 1],
        &format!("{new}a"),
        &format!("{new}@token.example"),
        "tk1_",
        "tk1_0000000000000000000000000000000000000000",
    ] {
        assert_eq!(count(wrong), (nothing(Opened::Foreign), 1), "{wrong}");
    }
    assert_eq!(count("Anna"), (nothing(Opened::Plain), 0));
}

#[test]
fn what_was_bound_before_a_destruction_does_nothing_after_it() {
    let house = Shared::default().process();
    let of = |shape| house.sealer("parcelo", "account", shape);
    let (parcelo, account) = (domain("parcelo"), category("account"));
    let hashes = house.vault.pseudonymizer(&parcelo, Some(&account)).unwrap();
    let opener = house.vault.opener(&parcelo, &account, Some(Shape::Digits)).unwrap();
    let sealers = [of(Shape::Opaque), of(Shape::Email), of(Shape::Digits)];
    let values = ["12345678", "anna@example.org", "12345678"];
    let tokens: Vec<String> = sealers.iter().zip(values).map(|(sealer, value)| token(sealer, value)).collect();
    house.vault.keys().destroy(&parcelo, None, None).unwrap();
    for (sealer, value) in sealers.iter().zip(values) {
        assert_eq!(issue(sealer, Value::Text(value)), (Issued::Unfit, String::new()));
    }
    assert_eq!(hash(&hashes, Value::Text("anna")), "");
    for (token, opened) in tokens.iter().zip([Opened::Foreign, Opened::Foreign, Opened::Plain]) {
        assert_eq!(open(&opener, token), nothing(opened));
    }
}

#[test]
fn an_old_epoch_ends_for_those_who_were_bound_before() {
    let house = Shared::default().process();
    let old = token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna");
    house.rotate("parcelo");
    let (sealer, opener) = (house.sealer("parcelo", "name", Shape::Opaque), house.opener("parcelo", "name"));
    house.vault.keys().destroy(&domain("parcelo"), Some(Epoch::FIRST), None).unwrap();
    assert_eq!(open(&opener, &old), nothing(Opened::Foreign));
    assert_eq!(open(&opener, &token(&sealer, "Anna")).0, Opened::Text);
}
