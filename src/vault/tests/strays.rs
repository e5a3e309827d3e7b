//! Whose a token is that was not turned back.

use super::*;
use crate::vault::strays::Strays;

fn issuers(opener: &Opener, tokens: &[&str]) -> Vec<(String, u64)> {
    let mut strays = Strays::default();
    tokens.iter().for_each(|token| strays.note(opener, token));
    strays.issuers().into_iter().map(|(domain, count)| (domain.as_str().to_owned(), count)).collect()
}

fn one(domain: &str, count: u64) -> Vec<(String, u64)> {
    vec![(domain.to_owned(), count)]
}

#[test]
fn a_token_that_authenticates_itself_names_its_domain_and_nothing_else_does() {
    let (house, elsewhere) = (house(), house());
    let opener = house.opener("admira", "name");
    let sealer = house.sealer("parcelo", "card", Shape::Opaque);
    let mail = house.sealer("parcelo", "mail", Shape::Email);
    let (card, address) = (token(&sealer, "4111"), token(&mail, "anna@example.org"));
    let other = house.sealer("admira", "card", Shape::Opaque);
    let own = token(&other, "4111");
    assert_eq!(issuers(&opener, &[&card, &card.to_uppercase(), &address]), one("parcelo", 3));
    assert_eq!(issuers(&opener, &[&own]), one("admira", 1), "of another category");
    // Anybody can write a key id and a check.
    let mut forged = card.clone().into_bytes();
    forged[20] = if forged[20] == b'a' { b'b' } else { b'a' };
    let forged = String::from_utf8(forged).unwrap();
    let unknown = token(&elsewhere.sealer("parcelo", "card", Shape::Opaque), "4111");
    for text in [forged.as_str(), &unknown, &card[..40], "tk1_", "Anna"] {
        assert_eq!(issuers(&opener, &[text]), [], "{text}");
    }
    assert_eq!(issuers(&opener, &[card.as_str(); 100]), one("parcelo", 8), "no more are kept than can be asked about");
}

#[test]
fn old_epochs_are_known_and_what_no_policy_uses_any_more_is_not() {
    let house = house();
    let opener = house.opener("admira", "name");
    let old = token(&house.sealer("parcelo", "card", Shape::Opaque), "4111");
    house.vault.keys().rotate(&domain("parcelo"), false).unwrap();
    assert_eq!(issuers(&opener, &[&old]), [], "its sealer is gone");
    let sealer = house.sealer("parcelo", "card", Shape::Opaque);
    assert_eq!(issuers(&opener, &[&old, &token(&sealer, "4111")]), one("parcelo", 2));
    drop(sealer);
    assert_eq!(issuers(&opener, &[&old]), []);
}
