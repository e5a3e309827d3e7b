//! Tokens through the front door: issued, opened, tampered with.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::keys::{Epoch, KeySource};

mod epochs;
mod golden;
mod shapes;
mod strangers;
mod strays;

struct House {
    vault: Vault,
}

/// Secrets that are forgotten with the test.
#[derive(Debug, Default)]
struct Memory {
    secrets: Mutex<BTreeMap<(DomainId, Epoch), keys::Key>>,
    listed: AtomicUsize,
}

impl KeySource for Memory {
    fn load(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<keys::Key>, keys::Error> {
        Ok(self.secrets.lock().unwrap().get(&(domain.clone(), epoch)).cloned())
    }
    fn create(
        &self,
        domain: &DomainId,
        after: keys::change::After,
        fresh: &keys::Key,
    ) -> Result<keys::Key, keys::Error> {
        let epoch = after.epoch().unwrap();
        Ok(self.secrets.lock().unwrap().entry((domain.clone(), epoch)).or_insert(fresh.clone()).clone())
    }
    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, keys::Error> {
        self.listed.fetch_add(1, Ordering::SeqCst);
        Ok(self.secrets.lock().unwrap().keys().cloned().collect())
    }
    fn destroy(&self, domain: &DomainId, through: Epoch, _: bool) -> Result<(), keys::Error> {
        self.secrets.lock().unwrap().retain(|(of, epoch), _| of != domain || *epoch > through);
        Ok(())
    }
    fn derived(&self, _: &str) -> keys::Key {
        keys::Key::new([0; keys::KEY_LEN])
    }
}

/// Over keys that are forgotten with the test.
pub(super) fn vault() -> Vault {
    Vault::new(Arc::new(KeyRing::over(Box::<Memory>::default())))
}

fn house() -> House {
    House { vault: vault() }
}

fn domain(name: &str) -> DomainId {
    DomainId::parse(name).unwrap()
}

fn category(name: &str) -> Category {
    Category::parse(name).unwrap()
}

impl House {
    fn sealer(&self, domain_name: &str, category_name: &str, shape: Shape) -> Sealer {
        self.vault.sealer(&domain(domain_name), Some(&category(category_name)), shape).unwrap()
    }
    fn opener(&self, domain_name: &str, category_name: &str) -> Opener {
        self.vault.opener(&domain(domain_name), &category(category_name), None).unwrap()
    }
}

fn issue(sealer: &Sealer, value: Value<'_>) -> (Issued, String) {
    let mut out = Vec::new();
    let issued = sealer.issue(value, &mut out);
    (issued, String::from_utf8(out).unwrap())
}

fn token(sealer: &Sealer, text: &str) -> String {
    let (issued, token) = issue(sealer, Value::Text(text));
    assert_eq!(issued, Issued::Token);
    token
}

fn open(opener: &Opener, text: &str) -> (Opened, String) {
    let mut out = Vec::new();
    let opened = opener.open(text, &mut out);
    (opened, String::from_utf8(out).unwrap())
}

fn hash(pseudonymizer: &Pseudonymizer, value: Value<'_>) -> String {
    let mut out = Vec::new();
    assert_eq!(pseudonymizer.hash(value, &mut out), !out.is_empty());
    String::from_utf8(out).unwrap()
}

fn nothing(opened: Opened) -> (Opened, String) {
    (opened, String::new())
}

#[test]
fn a_token_is_turned_back_for_its_domain_and_category_alone() {
    let house = house();
    let token = token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna Kern");
    assert_eq!(open(&house.opener("parcelo", "name"), &token), (Opened::Text, "Anna Kern".to_owned()));
    assert_eq!(open(&house.opener("parcelo", "card"), &token), nothing(Opened::Foreign));
    assert_eq!(open(&house.opener("adnet", "name"), &token), nothing(Opened::Foreign));
}

#[test]
fn the_same_value_has_one_token_in_a_domain_and_category_and_different_ones_elsewhere() {
    let house = house();
    let first = token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna");
    assert_eq!(first, token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna"));
    assert_ne!(first, token(&house.sealer("parcelo", "nick", Shape::Opaque), "Anna"));
    assert_ne!(first, token(&house.sealer("adnet", "name", Shape::Opaque), "Anna"));
    assert_ne!(first, token(&house.sealer("parcelo", "name", Shape::Opaque), "anna"));
}

#[test]
fn a_token_needs_no_escape_and_hides_the_length_of_a_short_value() {
    let house = house();
    let sealer = house.sealer("parcelo", "name", Shape::Opaque);
    let (short, long) = (token(&sealer, ""), token(&sealer, "fifteen letters"));
    for token in [&short, &long] {
        assert_eq!(token.len(), 64);
        assert!(token.starts_with("tk1_"), "{token}");
        assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{token}");
        assert_eq!(serde_json::to_string(token).unwrap(), format!("\"{token}\""));
    }
    assert_eq!(token(&sealer, "sixteen letters!").len(), 89);
}

#[test]
fn tokens_of_a_domain_begin_alike() {
    let house = house();
    let ids = house.vault.key_ids(&domain("parcelo")).unwrap();
    let [(Epoch::FIRST, id)] = &ids[..] else { panic!("one epoch: {ids:?}") };
    assert_eq!(id.len(), KEY_ID_LEN);
    let begin = format!("tk1_{id}");
    assert!(token(&house.sealer("parcelo", "name", Shape::Opaque), "Anna").starts_with(&begin));
    assert!(token(&house.sealer("parcelo", "mail", Shape::Email), "a@b.example").starts_with(&begin));
    assert!(!token(&house.sealer("adnet", "name", Shape::Opaque), "Anna").starts_with(&begin));
}

#[test]
fn upper_case_tokens_are_turned_back() {
    let house = house();
    let opener = house.opener("parcelo", "name");
    for shape in [Shape::Opaque, Shape::Email] {
        let token = token(&house.sealer("parcelo", "name", shape), "Anna Kern, Hauptstraße 5").to_uppercase();
        assert_eq!(open(&opener, &token), (Opened::Text, "Anna Kern, Hauptstraße 5".to_owned()), "{token}");
    }
}

#[test]
fn a_number_and_a_string_differ_and_come_back_as_what_they_were() {
    let house = house();
    let (sealer, opener) = (house.sealer("parcelo", "age", Shape::Opaque), house.opener("parcelo", "age"));
    let (_, number) = issue(&sealer, Value::Number("1e0"));
    assert_ne!(number, token(&sealer, "1e0"));
    assert_eq!(open(&opener, &number), (Opened::Number, "1".to_owned()));
    for (canonical, spelled) in [
        ("0e0", "0"),
        ("12e2", "1200"),
        ("-5e-1", "-0.5"),
        ("123456e-3", "123.456"),
        ("-123e-3", "-0.123"),
        ("1e64", "10000000000000000000000000000000000000000000000000000000000000000"),
        ("1e65", "1e65"),
        ("-7e-2147483648", "-7e-2147483648"),
    ] {
        let (_, token) = issue(&sealer, Value::Number(canonical));
        assert_eq!(open(&opener, &token), (Opened::Number, spelled.to_owned()));
    }
}

#[test]
fn what_is_a_token_already_is_not_tokenized_again() {
    let house = house();
    let opaque = house.sealer("parcelo", "mail", Shape::Opaque);
    let mail = house.sealer("parcelo", "mail", Shape::Email);
    let (first, second) = (token(&opaque, "anna@example.org"), token(&mail, "anna@example.org"));
    for sealer in [&opaque, &mail] {
        for token in [&first, &second, &first.to_uppercase()] {
            assert_eq!(issue(sealer, Value::Text(token)), (Issued::Already, String::new()));
        }
    }
    assert_eq!(issue(&house.sealer("parcelo", "name", Shape::Opaque), Value::Text(&first)).0, Issued::Token);
    assert_eq!(issue(&house.sealer("adnet", "mail", Shape::Opaque), Value::Text(&first)).0, Issued::Token);
}

#[test]
fn text_that_is_no_token_is_plain() {
    let opener = house().opener("parcelo", "name");
    for text in [
        "",
        "Anna",
        "tk1",
        "tk2_abc",
        "ps1_abcdefghijklmnopqrstuvwxyz",
        "anna@token.invalid",
        " tk1_abc",
        "123456",
        "é",
    ] {
        assert_eq!(open(&opener, text), nothing(Opened::Plain), "{text}");
    }
}

#[test]
fn an_email_token_is_an_address_that_nobody_owns() {
    let house = house();
    let (sealer, opener) = (house.sealer("parcelo", "mail", Shape::Email), house.opener("parcelo", "mail"));
    for length in 0..=111 {
        let value = "x".repeat(length);
        let address = token(&sealer, &value);
        let (local, host) = address.split_once('@').unwrap();
        assert!(address.len() <= 254 && local.len() <= 64, "{address}");
        assert!(host.split('.').all(|label| (1..=63).contains(&label.len())), "{address}");
        assert!(host == "token.invalid" || host.ends_with(".token.invalid"), "{address}");
        assert_eq!(open(&opener, &address), (Opened::Text, value));
    }
    for length in 112..130 {
        assert_eq!(issue(&sealer, Value::Text(&"x".repeat(length))), (Issued::Unfit, String::new()));
    }
}

#[test]
fn an_email_token_that_is_cut_otherwise_is_foreign() {
    let house = house();
    let (sealer, opener) = (house.sealer("parcelo", "mail", Shape::Email), house.opener("parcelo", "mail"));
    let address = token(&sealer, "anna.kern@example.org, her second address");
    let (local, host) = address.split_once('@').unwrap();
    let (first, rest) = host.split_at(5);
    for wrong in [
        format!("{local}@{first}.{rest}"),
        format!("{local}@{host}."),
        format!("{local}@.{host}"),
        format!("{local}{first}@{rest}"),
        format!("{local}@{}", host.replace(".token", "token")),
        format!("{local}@{}", host.replace(".invalid", ".example")),
        format!("{local}@@{host}"),
        address.replace('@', ""),
    ] {
        assert_eq!(open(&opener, &wrong), nothing(Opened::Foreign), "{wrong}");
    }
}

#[test]
fn no_change_of_one_character_is_turned_back() {
    let house = house();
    for (shape, value) in [(Shape::Opaque, "Anna"), (Shape::Email, "anna.kern@example.org, or else bert@example.org")] {
        let (sealer, opener) = (house.sealer("parcelo", "name", shape), house.opener("parcelo", "name"));
        let token = token(&sealer, value);
        for place in 0..token.len() {
            for other in b"abcdefghijklmnopqrstuvwxyz0123456789_@.-".iter().filter(|b| **b != token.as_bytes()[place]) {
                let mut changed = token.clone().into_bytes();
                changed[place] = *other;
                let changed = String::from_utf8(changed).unwrap();
                let (opened, out) = open(&opener, &changed);
                assert!(matches!(opened, Opened::Plain | Opened::Foreign), "{changed}");
                assert_eq!(out, "");
            }
            let (mut left_out, mut doubled, cut) = (token.clone(), token.clone(), &token[..place]);
            left_out.remove(place);
            doubled.insert(place, char::from(token.as_bytes()[place]));
            for changed in [&left_out, &doubled, cut] {
                assert!(matches!(open(&opener, changed).0, Opened::Plain | Opened::Foreign), "{changed}");
            }
        }
    }
}

#[test]
fn digits_become_as_many_digits_and_come_back() {
    let house = house();
    let sealer = house.sealer("parcelo", "account", Shape::Digits);
    let opener = house.vault.opener(&domain("parcelo"), &category("account"), Some(Shape::Digits)).unwrap();
    let mut seen = HashSet::new();
    for value in
        ["000000", "000001", "123456", "0123456", "1234567", "0151234567890", "4111111111111111", &"9".repeat(64)]
    {
        let (issued, token) = issue(&sealer, Value::Text(value));
        assert_eq!((issued, token.len()), (Issued::Token, value.len()));
        assert!(token.bytes().all(|b| b.is_ascii_digit()));
        assert_eq!(open(&opener, &token), (Opened::Text, value.to_owned()));
        assert!(seen.insert(token));
    }
    for value in ["", "12345", "12345a", "1234 5678", "+4915112345", "١٢٣٤٥٦", &"1".repeat(65)] {
        assert_eq!(issue(&sealer, Value::Text(value)), (Issued::Unfit, String::new()), "{value}");
        assert_eq!(open(&opener, value), nothing(Opened::Plain), "{value}");
    }
    assert_eq!(
        open(&house.opener("parcelo", "account"), "123456"),
        nothing(Opened::Plain),
        "only where the reveal says digits"
    );
}

#[test]
fn a_whole_number_stays_a_number_that_json_can_write() {
    let house = house();
    let sealer = house.sealer("parcelo", "account", Shape::Digits);
    let opener = house.vault.opener(&domain("parcelo"), &category("account"), Some(Shape::Digits)).unwrap();
    for number in 100_000..100_300 {
        let canonical = crate_canonical(number);
        let (issued, token) = issue(&sealer, Value::Number(&canonical));
        assert_eq!((issued, token.len()), (Issued::Token, 6));
        assert!(!token.starts_with('0'));
        assert_eq!(open(&opener, &token), (Opened::Text, number.to_string()));
    }
    assert_eq!(issue(&sealer, Value::Number("1e63")).0, Issued::Token);
    for number in ["0e0", "12345e0", "-123456e0", "1234567e-1", "1e64", "1e2147483647"] {
        assert_eq!(issue(&sealer, Value::Number(number)), (Issued::Unfit, String::new()), "{number}");
    }
}

/// As `json::text::canonical_number` has it.
fn crate_canonical(number: u32) -> String {
    let text = number.to_string();
    let digits = text.trim_end_matches('0');
    format!("{digits}e{}", text.len() - digits.len())
}

#[test]
fn pseudonyms_are_stable_differ_between_domains_and_categories_and_are_never_turned_back() {
    let house = house();
    let of = |domain_name: &str, category: Option<&Category>| {
        house.vault.pseudonymizer(&domain(domain_name), category).unwrap()
    };
    let (name, nick) = (category("name"), category("nick"));
    let first = hash(&of("parcelo", Some(&name)), Value::Text("Anna"));
    assert!(first.starts_with("ps1_") && first.len() == 30, "{first}");
    assert!(first.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{first}");
    assert_eq!(first, hash(&of("parcelo", Some(&name)), Value::Text("Anna")));
    let others = [
        hash(&of("parcelo", Some(&nick)), Value::Text("Anna")),
        hash(&of("parcelo", None), Value::Text("Anna")),
        hash(&of("adnet", Some(&name)), Value::Text("Anna")),
        hash(&of("parcelo", Some(&name)), Value::Text("Anne")),
        hash(&of("parcelo", Some(&name)), Value::Number("Anna")),
        first,
    ];
    assert_eq!(others.iter().collect::<HashSet<_>>().len(), 6);
    assert_eq!(open(&house.opener("parcelo", "name"), &others[5]), nothing(Opened::Plain));
}

#[test]
fn a_rule_without_a_category_has_one_of_its_own() {
    let house = house();
    let sealer = house.vault.sealer(&domain("parcelo"), None, Shape::Opaque).unwrap();
    let token = token(&sealer, "Anna");
    assert_eq!(open(&house.opener("parcelo", "unnamed"), &token).0, Opened::Text);
    assert_eq!(open(&house.opener("parcelo", "name"), &token).0, Opened::Foreign);
}

#[test]
fn another_root_key_turns_nothing_back() {
    let (first, second) = (house(), house());
    let token = token(&first.sealer("parcelo", "name", Shape::Opaque), "Anna");
    assert_eq!(open(&second.opener("parcelo", "name"), &token), nothing(Opened::Foreign));
}

#[test]
fn nothing_that_holds_a_key_prints_it() {
    let house = house();
    let pseudonymizer = house.vault.pseudonymizer(&domain("parcelo"), None).unwrap();
    assert_eq!(format!("{:?}", house.sealer("parcelo", "name", Shape::Opaque)), "Sealer([secret])");
    assert_eq!(format!("{:?}", house.opener("parcelo", "name")), "Opener([secret])");
    assert_eq!(format!("{pseudonymizer:?}"), "Pseudonymizer([secret])");
    let vault = format!("{:?}", house.vault);
    assert!(vault.contains("key: [secret]") && vault.contains("parcelo"), "{vault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_text_comes_back(text in ".{0,300}", number in "-?[1-9][0-9]{0,30}e-?[0-9]{1,3}") {
        let house = house();
        let opener = house.opener("parcelo", "name");
        for shape in [Shape::Opaque, Shape::Email] {
            let sealer = house.sealer("parcelo", "name", shape);
            let (issued, token) = issue(&sealer, Value::Text(&text));
            match issued {
                Issued::Token => prop_assert_eq!(open(&opener, &token), (Opened::Text, text.clone())),
                _ => prop_assert!(shape == Shape::Email && text.len() > 111 && token.is_empty()),
            }
            let (issued, token) = issue(&sealer, Value::Number(&number));
            prop_assert_eq!(issued, Issued::Token);
            let (opened, spelled) = open(&opener, &token);
            prop_assert_eq!(opened, Opened::Number);
            prop_assert!(serde_json::from_str::<serde_json::Number>(&spelled).is_ok() || spelled.contains('e'));
        }
    }

    #[test]
    fn long_texts_come_back(length in 400usize..70_000) {
        let house = house();
        let (sealer, opener) = (house.sealer("parcelo", "name", Shape::Opaque), house.opener("parcelo", "name"));
        let text = "añ0".repeat(length / 4);
        prop_assert_eq!(open(&opener, &token(&sealer, &text)), (Opened::Text, text));
    }

    #[test]
    fn arbitrary_text_is_never_turned_back(text in "[tT][kK]1_[a-zA-Z2-7@.]{0,200}", other in ".{0,80}") {
        let opener = house().opener("parcelo", "name");
        prop_assert_eq!(open(&opener, &text), nothing(Opened::Foreign));
        prop_assert!(matches!(open(&opener, &other).0, Opened::Plain | Opened::Foreign));
    }

    #[test]
    fn digit_strings_come_back_and_cards_are_no_cards_any_more(text in "[0-9]{6,64}", card in "[0-9]{12,18}") {
        let house = house();
        let sealer = house.sealer("parcelo", "card", Shape::Digits);
        let opener = house.vault.opener(&domain("parcelo"), &category("card"), Some(Shape::Digits)).unwrap();
        let card = (0..10).map(|last| format!("{card}{last}")).find(|card| passes_luhn(card)).unwrap();
        for value in [&text, &card] {
            let (issued, token) = issue(&sealer, Value::Text(value));
            prop_assert_eq!(issued, Issued::Token);
            prop_assert_eq!(token.len(), value.len());
            prop_assert_eq!(token.starts_with('0'), value.starts_with('0'));
            prop_assert!(!(13..=19).contains(&value.len()) || !passes_luhn(value) || !passes_luhn(&token));
            prop_assert_eq!(open(&opener, &token), (Opened::Text, value.clone()));
        }
    }
}

/// As a validator would write it: from the right, every second digit doubled, nines cast out.
fn passes_luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let doubled = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
            doubled / 10 + doubled % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

#[test]
fn the_luhn_check_of_these_tests_knows_real_card_numbers() {
    assert!(passes_luhn("4111111111111111") && passes_luhn("79927398713") && !passes_luhn("4111111111111112"));
}
