//! Rows that do not read: each harms its own value, and no other.

use tidegate::vault::store::{Entry, Forget};

use super::{Database, open};
use crate::conformance::Place;
use crate::entries::{digest, entry, read, subject, token};

#[tokio::test]
async fn a_row_that_does_not_read_harms_its_own_value_alone() {
    let database = <Database as Place>::new().await;
    let store = open(&database.url()).await;
    let of = |number| Entry { subjects: vec![subject(1)], ends_ms: Some(number), ..entry(number) };
    let entries: Vec<_> = (0..3).map(of).collect();
    let mut others: Vec<_> = entries[1..].iter().map(Entry::forgotten).collect();
    others.sort_unstable_by_key(|one| one.token);
    for damage in ["spelling = 9", "epoch = -1"] {
        for what in [
            Forget::Subject(subject(1)),
            Forget::EndedBefore(u64::MAX),
            Forget::Values((0..3).map(digest).collect()),
            Forget::Tokens((0..3).map(|number| token(number, 0)).collect()),
            Forget::Domain([0; 16], None),
            Forget::IssuedBefore(u64::MAX),
        ] {
            store.put_if_absent(&entries).await.unwrap();
            database.server.sql(&database.name, &format!("UPDATE vault_tokens SET {damage} WHERE issued_ms = 0"));
            let error = store.find(&[token(1, 0), token(0, 0)]).await.unwrap_err();
            assert!(!error.away && error.to_string().contains("a row does not read"), "{error}");
            assert!(store.find(&[token(1, 0), token(2, 0)]).await.unwrap().iter().all(Option::is_some));
            assert_eq!(read(&store).await, (2, 1), "{what:?}");
            let told = store.seek(&what, 9).await.unwrap();
            assert!(told.len() == 3 && told.iter().any(|one| one.token == token(0, 0)), "{damage}: {what:?}");
            let mut gone = store.forget(&what, 9).await.unwrap();
            gone.sort_unstable_by_key(|one| one.token);
            assert_eq!(gone, others, "{damage}: {what:?}");
            assert_eq!(store.find(&[token(0, 0)]).await.unwrap(), [None], "its row is gone as well");
        }
    }
}
