//! The shipped policies, held to what the README says of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::Path;

use tidegate::policy;

#[test]
fn the_shipped_policies_are_clean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for name in ["parcelo.toml", "admira.toml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let (read, diagnostics) = policy::read(name, &text);
        let rendered: String = diagnostics.iter().map(|diagnostic| diagnostic.render(&text, false)).collect();
        // But for the digest that no key has: P021 says so.
        let clean = diagnostics.iter().all(|diagnostic| diagnostic.code == "P021");
        assert!(read.is_some() && clean, "{rendered}");
    }
}
