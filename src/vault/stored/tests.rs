//! How stored tokens look, whose they are, and what happens to them when keys change.

use proptest::prelude::*;

use super::super::store::memory::Memory;
use super::super::store::{Entry, Forget, TokenStore};
use super::super::token::Value;
use super::super::{Vault, tests};
use super::ask::{Answer, Ask, Stored, Unanswered, Wanted};
use super::*;
use crate::clock::Time;
use crate::ids::{Category, Shape};

const NOW: Time = Time(1_790_000_000_000);

/// A vault over a store in memory.
fn vault() -> (Vault, Arc<Memory>) {
    let store = Arc::new(Memory::default());
    let stored = Stored::new(Arc::clone(&store) as Arc<dyn TokenStore>, Duration::from_secs(9));
    (tests::vault().with_store(stored), store)
}

fn domain(name: &str) -> DomainId {
    DomainId::parse(name).unwrap()
}

fn category(name: &str) -> Category {
    Category::parse(name).unwrap()
}

fn issuer(vault: &Vault, of: &str, is: &str, spelling: Spelling) -> Issuer {
    vault.issuer(&domain(of), Some(&category(is)), spelling, None).unwrap()
}

fn finder(vault: &Vault, of: &str, is: &str) -> Finder {
    vault.finder(&domain(of), &category(is)).unwrap().unwrap()
}

async fn issue(vault: &Vault, issuer: &Issuer, value: Value<'_>) -> String {
    let asks = [Ask::Issue(Wanted::new(issuer, value))];
    match vault.stored().unwrap().resolve(&asks, NOW).await.unwrap().remove(0) {
        Answer::Token(token) => String::from_utf8(token).unwrap(),
        _ => panic!("no token"),
    }
}

/// What a token stands for, as JSON; `None`: it is gone.
async fn open(vault: &Vault, genuine: Genuine) -> Option<String> {
    match vault.stored().unwrap().resolve(&[Ask::Find(genuine)], NOW).await.unwrap().remove(0) {
        Answer::Text(text) => Some(format!("{:?}", &**text)),
        Answer::Number(number) => Some(number.to_string()),
        Answer::Gone => None,
        Answer::Token(_) => panic!("a token"),
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_own_domain_and_category_alone() {
    let (vault, store) = vault();
    let anna = issuer(&vault, "anna", "id", Spelling::Opaque);
    let token = issue(&vault, &anna, Value::Text("x")).await;
    assert_eq!(issue(&vault, &anna, Value::Text("x")).await, token);
    assert_ne!(issue(&vault, &anna, Value::Number("1e0")).await, issue(&vault, &anna, Value::Text("1e0")).await);
    for (of, is) in [("anna", "id"), ("anna", "mail"), ("ben", "id")] {
        let genuine = finder(&vault, of, is).genuine(&token);
        assert_eq!(genuine.is_some(), (of, is) == ("anna", "id"), "{of} {is}");
    }
    let sealer = vault.sealer(&domain("anna"), Some(&category("id")), Shape::Opaque).unwrap();
    let mut sealed = Vec::new();
    sealer.issue(Value::Text("x"), &mut sealed);
    assert!(finder(&vault, "anna", "id").genuine(std::str::from_utf8(&sealed).unwrap()).is_none());
    assert_eq!(sealed.get(..9), token.as_bytes().get(..9), "both say whose they are");
    store.forget(&Forget::IssuedBefore(u64::MAX), 9).await.unwrap();
    let genuine = finder(&vault, "anna", "id").genuine(&token).unwrap();
    assert_eq!(open(&vault, genuine).await, None);
    assert_ne!(issue(&vault, &anna, Value::Text("x")).await, token, "what was erased does not come back");
}

#[tokio::test]
async fn a_store_sees_neither_values_nor_names() {
    let (vault, store) = vault();
    let mut wanted = Wanted::new(&issuer(&vault, "anna", "id", Spelling::Mail), Value::Text("canary value"));
    wanted.belongs_to("canary person");
    vault.stored().unwrap().resolve(&[Ask::Issue(wanted)], NOW).await.unwrap();
    let entry = store.visit(None, 9).await.unwrap().entries.remove(0);
    let Entry { digest, token, sealed, subjects, .. } = &entry;
    let bytes = [digest.as_slice(), token, sealed, subjects.as_flattened()].concat();
    for secret in [b"canary".as_slice(), b"anna", b"person"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    assert_eq!((sealed.len(), entry.issued_ms, entry.spelling), (16 + 16, NOW.0, Spelling::Mail));
    assert!(!format!("{entry:?}").contains("canary"));
}

#[tokio::test]
async fn two_people_of_two_partners_share_nothing_in_the_store() {
    let (vault, store) = vault();
    for of in ["anna", "ben"] {
        let mut wanted = Wanted::new(&issuer(&vault, of, "id", Spelling::Uuid), Value::Text("one"));
        wanted.belongs_to("one");
        vault.stored().unwrap().resolve(&[Ask::Issue(wanted)], NOW).await.unwrap();
    }
    let entries = store.visit(None, 9).await.unwrap().entries;
    let [a, b] = &*entries else { panic!() };
    assert!(a.digest != b.digest && a.subjects != b.subjects && a.domain != b.domain && a.sealed != b.sealed);
    assert_eq!([a.domain, b.domain].iter().filter(|tag| **tag == domain_tag(&domain("anna"))).count(), 1);
}

#[tokio::test]
async fn what_is_not_spelt_as_a_token_is_none() {
    let (vault, _) = vault();
    let finder = finder(&vault, "anna", "id");
    for spelling in [Spelling::Opaque, Spelling::Mail, Spelling::Uuid] {
        let token = issue(&vault, &issuer(&vault, "anna", "id", spelling), Value::Text("x")).await;
        assert!(finder.genuine(&token).is_some() && finder.genuine(&token.to_uppercase()).is_some(), "{token}");
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'q' { b'r' } else { b'q' };
            assert!(finder.genuine(std::str::from_utf8(&other).unwrap()).is_none(), "{token} {at}");
            // An address that is cut before its `@` is the opaque token.
            assert!(at == 38 || finder.genuine(&token[..at]).is_none());
            assert!(finder.genuine(&token[at + 1..]).is_none());
        }
        for other in [format!("{token}x"), format!(" {token}"), format!("{token}.")] {
            assert!(finder.genuine(&other).is_none(), "{other}");
        }
    }
}

#[tokio::test]
async fn after_a_rotation_old_tokens_are_turned_back_and_new_ones_are_others() {
    let (vault, _) = vault();
    let (before, finder_before) = (issuer(&vault, "anna", "id", Spelling::Opaque), finder(&vault, "anna", "id"));
    let uuids = issuer(&vault, "anna", "id", Spelling::Uuid);
    let old = [issue(&vault, &before, Value::Text("x")).await, issue(&vault, &uuids, Value::Text("x")).await];
    vault.keys().rotate(&domain("anna"), false).unwrap();
    vault.keys().refresh().unwrap();
    vault.keys().epochs(&domain("anna")).unwrap();
    let after = issuer(&vault, "anna", "id", Spelling::Opaque);
    let new = issue(&vault, &after, Value::Text("x")).await;
    assert!(new != old[0] && after.owns(&old[0]) && after.owns(&old[1]));
    let found = finder(&vault, "anna", "id");
    for token in old.iter().chain([&new]) {
        assert_eq!(open(&vault, found.genuine(token).unwrap()).await.as_deref(), Some("\"x\""), "{token}");
        // Also by a policy that was loaded before.
        assert_eq!(open(&vault, finder_before.genuine(token).unwrap()).await.as_deref(), Some("\"x\""), "{token}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_not_ours_is_taken_for_a_token(text in "(?i)(tk1_)?[a-z2-7_@.0-9-]{0,60}") {
        prop_assert!(spelling::read(&text).is_none());
    }

    #[test]
    fn every_value_comes_back(text in ".*", number in any::<i64>()) {
        let (vault, _) = vault();
        let number = crate::json::text::canonical_number(number.to_string().as_bytes()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (issuer, finder) = (issuer(&vault, "anna", "id", Spelling::Opaque), finder(&vault, "anna", "id"));
            let token = issue(&vault, &issuer, Value::Text(&text)).await;
            assert_eq!(open(&vault, finder.genuine(&token).unwrap()).await, Some(format!("{text:?}")));
            let token = issue(&vault, &issuer, Value::Number(&number)).await;
            let back = open(&vault, finder.genuine(&token).unwrap()).await.unwrap();
            assert_eq!(crate::json::text::canonical_number(back.as_bytes()).unwrap(), number);
        });
    }
}

mod erasure {
    use super::super::erase::{Erased, Error, What};
    use super::*;

    /// One value for each of two people at each of two partners.
    async fn filled() -> (Vault, Arc<Memory>, Vec<String>) {
        let (vault, store) = vault();
        let mut tokens = Vec::new();
        let twelve = crate::json::text::canonical_number(b"12").unwrap();
        for of in ["anna", "ben"] {
            for (person, value) in [("7", Value::Text("x")), ("8", Value::Number(&twelve))] {
                let mut wanted = Wanted::new(&issuer(&vault, of, "id", Spelling::Mail), value);
                wanted.belongs_to(person);
                let answer = vault.stored().unwrap().resolve(&[Ask::Issue(wanted)], NOW).await.unwrap().remove(0);
                let Answer::Token(token) = answer else { panic!() };
                tokens.push(String::from_utf8(token).unwrap());
            }
        }
        (vault, store, tokens)
    }

    /// Which tokens end, by their number.
    async fn check(domains: &[&str], what: What<'_>, expected: &[usize]) {
        let (vault, store, tokens) = filled().await;
        for of in ["anna", "ben"] {
            vault.keys().rotate(&domain(of), false).unwrap();
        }
        vault.keys().refresh().unwrap();
        let domains: Vec<DomainId> = domains.iter().map(|name| domain(name)).collect();
        let mut erased = Erased::default();
        // A person who is named twice is told once.
        let mut tell = |ends: &Erased| {
            assert!(erased.tokens.is_empty() && store.len() == 4, "told once, and before anything is forgotten");
            erased.tokens.clone_from(&ends.tokens);
            erased.unreadable = ends.unreadable;
            Ok(())
        };
        let count = vault.erase(&domains, &[what, what], &mut tell).await.unwrap();
        assert_eq!(count, expected.len());
        let told: Vec<&String> = erased.tokens.values().flatten().collect();
        let mut found: Vec<usize> =
            told.iter().map(|told| tokens.iter().position(|one| one == *told).unwrap()).collect();
        found.sort_unstable();
        assert_eq!((found.as_slice(), erased.unreadable, store.len()), (expected, 0, 4 - expected.len()));
        assert!(
            erased
                .tokens
                .iter()
                .all(|(of, tokens)| tokens.iter().all(|one| finder(&vault, of.as_str(), "id").genuine(one).is_some()))
        );
    }

    #[tokio::test]
    async fn what_is_forgotten_is_told_to_each_partner_in_its_own_tokens() {
        let both = ["anna", "ben"];
        let id = category("id");
        check(&both, What::Subject("7"), &[0, 2]).await;
        check(&["ben"], What::Subject("7"), &[2]).await;
        check(&both, What::Subject("9"), &[]).await;
        check(&both, What::Value(Some(&id), "x"), &[0, 2]).await;
        check(&both, What::Value(Some(&id), "12.0"), &[1, 3]).await;
        check(&both, What::Value(None, "x"), &[]).await;
        check(&["anna"], What::All, &[0, 1]).await;
        check(&both, What::IssuedBefore(NOW.0 + 1), &[0, 1, 2, 3]).await;
        check(&both, What::IssuedBefore(NOW.0), &[]).await;
    }

    #[tokio::test]
    async fn where_nothing_is_kept_nothing_is_forgotten() {
        let erased = tests::vault().erase(&[domain("anna")], &[What::All], &mut |_| Ok(())).await;
        assert!(matches!(erased, Err(Error::NoStore)));
    }

    #[tokio::test]
    async fn spellings_that_are_made_one_have_one_token_and_are_forgotten_by_any_of_them() {
        let (vault, store) = vault();
        let phone = issuer(&vault, "anna", "contact.phone", Spelling::Opaque);
        let (as_it_is, phone) = (phone.clone(), phone.normalizing(Some(Normalize::E164)));
        let token = issue(&vault, &phone, Value::Text("+49 151 234567")).await;
        assert_eq!(issue(&vault, &phone, Value::Text("+49-151/234567")).await, token);
        let genuine = finder(&vault, "anna", "contact.phone").genuine(&token).unwrap();
        assert_eq!(open(&vault, genuine).await.unwrap(), "\"+49151234567\"", "it is that spelling which comes back");
        assert!(!phone.fits(Value::Text("0151 234567")) && !phone.fits(Value::Number("151234567")));
        assert!(phone.fits(Value::Text("+49 151 234567")) && as_it_is.fits(Value::Text("0151 234567")));
        assert_ne!(issue(&vault, &as_it_is, Value::Text("+49151234567")).await, token);
        let is = category("contact.phone");
        let (mut told, domains) = (Vec::new(), [domain("anna")]);
        let mut tell = |ends: &Erased| {
            told.extend(ends.tokens.values().flatten().cloned());
            Ok(())
        };
        vault.erase(&domains, &[What::Value(Some(&is), "+49 (151) 23 45 67")], &mut tell).await.unwrap();
        assert_eq!((told, store.len()), (vec![token], 1));
    }

    #[tokio::test]
    async fn what_cannot_be_told_is_not_forgotten() {
        let (vault, store, _) = filled().await;
        let mut full = |_: &Erased| Err(std::io::ErrorKind::StorageFull.into());
        let erased = vault.erase(&[domain("anna")], &[What::Subject("7")], &mut full).await;
        assert!(matches!(erased, Err(Error::NotTold(_))) && store.len() == 4);
    }
}

#[tokio::test]
async fn a_destroyed_domain_stores_and_gives_back_nothing_more() {
    let (vault, _) = vault();
    let anna = issuer(&vault, "anna", "id", Spelling::Opaque);
    let finder = finder(&vault, "anna", "id");
    let token = issue(&vault, &anna, Value::Text("Anna")).await;
    let genuine = finder.genuine(&token).unwrap();
    vault.keys().destroy(&domain("anna"), None, None).unwrap();
    assert!(finder.genuine(&token).is_none() && !anna.owns(&token));
    assert_eq!(open(&vault, genuine).await, None, "also of what was asked before");
    let again = [Ask::Issue(Wanted::new(&anna, Value::Text("Anna")))];
    assert!(matches!(vault.stored().unwrap().resolve(&again, NOW).await, Err(Unanswered::Destroyed)));
}
