//! `[reveal]`: nobody unless somebody is named, and then in full.

use super::*;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const OTHER: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";
const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:9901\"\n";

#[test]
fn operators_are_named_with_what_is_kept_of_their_credentials() {
    let text = format!("{SMALLEST}{ADMIN}[reveal.operator.anna]\nsha256 = \"{DIGEST}\"\n");
    let settings = Folder::new().load(&text, &[], &[]).unwrap().reveal.unwrap();
    assert_eq!((settings.rate, settings.two_operators, settings.within), (20, false, secs(900)));
    assert_eq!(settings.operators.keys().collect::<Vec<_>>(), ["anna"]);
    let set = ["reveal.rate=5".to_owned(), format!("reveal.operator.ben.sha256={OTHER}")];
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let settings = Folder::new().load(&text, &[], &set).unwrap().reveal.unwrap();
    assert_eq!((settings.rate, settings.operators.len()), (5, 2));
    assert!(Folder::new().load(&format!("{SMALLEST}{ADMIN}"), &[], &[]).unwrap().reveal.is_none());
}

#[test]
fn what_lets_nobody_or_too_many_is_complained_of() {
    let anna = format!("[reveal.operator.anna]\nsha256 = \"{DIGEST}\"\n");
    let open = ADMIN.replace("127.0.0.1", "10.1.2.3") + "danger_admin_exposed = true\n";
    for (text, says) in [
        (format!("{ADMIN}[reveal]\nrate = 5\n"), "lets nobody: there is no operator"),
        (format!("{ADMIN}[reveal]\ntwo_operators = true\n{anna}"), "two operators are needed"),
        (anna.clone(), "is asked for by the admin listener, and there is none"),
        (format!("{open}{anna}"), "cross the network for all to read"),
        (format!("{ADMIN}{}", anna.replace(DIGEST, "canary-password")), "expected 64 hexadecimal digits"),
        (format!("{ADMIN}{anna}{}", anna.replace("anna", "ben")), "is another operator's, too"),
        (format!("{ADMIN}{}", anna.replace("anna", "Anna")), "a name is 1 to 128"),
    ] {
        let complaints = Folder::new().load(&format!("{SMALLEST}{text}"), &[], &[]).map(drop).unwrap_err();
        let said = crate::config::render(&complaints);
        assert!(complaints.len() == 1 && said.contains(says) && !said.contains("canary"), "{text}: {said}");
    }
}
