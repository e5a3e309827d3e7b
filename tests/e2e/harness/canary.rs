//! The leak trap: values that nobody may see unless the test asks for it, and the search for them in every disguise.
//!
//! A body is written as a template: `<name>` is replaced by a canary that no other test has. Start at [`Canaries::plant`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use memchr::memmem;

/// The canaries of one source of data. Copies are the same set.
#[derive(Clone, Debug, Default)]
pub struct Canaries(Arc<Mutex<BTreeMap<String, Canary>>>);

/// One planted value.
#[derive(Clone, Debug)]
pub struct Canary {
    /// As it stands in the body.
    pub value: String,
    /// The part of it that occurs nowhere else: what is searched for.
    core: String,
}

fn random(alphabet: &[u8], count: usize) -> String {
    let mut bytes = vec![0_u8; count];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()])).collect()
}

impl Canary {
    /// By the label's first word: `email`, `phone`, `date`, `digits`; anything else is a word.
    fn new(label: &str) -> Self {
        let letters = b"abcdefghkmnpqrstuvwxyz23456789";
        match label.split('.').next().unwrap_or(label) {
            "email" => {
                let core = random(letters, 14);
                Self { value: format!("{core}@mail.example"), core }
            }
            "phone" => {
                let core = random(b"123456789", 11);
                Self { value: format!("+{core}"), core }
            }
            "digits" => {
                let core = format!("7{}", random(b"0123456789", 17));
                Self { value: core.clone(), core }
            }
            "date" => {
                let core =
                    format!("19{}-0{}-1{}", random(b"3456789", 2), random(b"123456789", 1), random(b"0123456789", 1));
                Self { value: core.clone(), core }
            }
            word => {
                let core = random(letters, 16);
                Self { value: format!("{word}-{core}"), core }
            }
        }
    }
}

impl Canaries {
    /// Replaces each `<label>` of the template by its canary; a label that occurs again gets the same value again.
    pub fn plant(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('<') {
            let (before, behind) = rest.split_at(at);
            out.push_str(before);
            let label = behind[1..].split('>').next().unwrap_or_default();
            let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
            if !label.is_empty() && label.chars().all(named) && behind.len() > label.len() + 1 {
                out.push_str(&self.value(label));
                rest = &behind[label.len() + 2..];
            } else {
                out.push('<');
                rest = &behind[1..];
            }
        }
        out.push_str(rest);
        out
    }

    /// The value that stands for the label.
    pub fn value(&self, label: &str) -> String {
        let mut all = self.0.lock().unwrap();
        all.entry(label.to_owned()).or_insert_with(|| Canary::new(label)).value.clone()
    }

    /// Something that was not made here but must not be seen either: a key, a token.
    pub fn guard(&self, label: &str, value: &str) {
        let canary = Canary { value: value.to_owned(), core: value.to_owned() };
        self.0.lock().unwrap().insert(label.to_owned(), canary);
    }

    /// All of them, by label.
    pub fn all(&self) -> Vec<(String, Canary)> {
        self.0.lock().unwrap().iter().map(|(label, canary)| (label.clone(), canary.clone())).collect()
    }
}

/// A text to be searched, with its folded twin made once.
pub struct Haystack {
    exact: Vec<u8>,
    folded: Vec<u8>,
}

impl Haystack {
    /// For many searches.
    pub fn new(bytes: &[u8]) -> Self {
        Self { exact: bytes.to_vec(), folded: bytes.to_ascii_lowercase() }
    }

    /// The name of the first disguise in which the canary is here.
    pub fn finds(&self, canary: &Canary) -> Option<&'static str> {
        let disguises = disguises(&canary.core);
        let here = disguises.into_iter().find(|(_, folds, needle)| {
            let haystack = if *folds { &self.folded } else { &self.exact };
            memmem::find(haystack, needle).is_some()
        });
        here.map(|(name, ..)| name)
    }
}

/// What a value can look like: name, whether case is ignored, bytes.
fn disguises(core: &str) -> Vec<(&'static str, bool, Vec<u8>)> {
    let each = |f: &dyn Fn(char) -> String| core.chars().map(f).collect::<String>().to_ascii_lowercase().into_bytes();
    let mut all = vec![
        ("plain", true, each(&|c| c.to_string())),
        ("reversed", true, core.chars().rev().collect::<String>().to_ascii_lowercase().into_bytes()),
        ("json escapes", true, each(&|c| format!("\\u{:04x}", u32::from(c)))),
        ("percent-encoded", true, each(&|c| format!("%{:02x}", u32::from(c)))),
        (
            "reserved percent-encoded",
            true,
            each(&|c| {
                if c.is_ascii_alphanumeric() || "-._~".contains(c) {
                    c.to_string()
                } else {
                    format!("%{:02x}", u32::from(c))
                }
            }),
        ),
        ("hex", true, HEXLOWER.encode(core.as_bytes()).into_bytes()),
        (
            "digits only",
            true,
            if core.contains('-') { core.replace('-', "").into_bytes() } else { core.as_bytes().to_ascii_lowercase() },
        ),
    ];
    // A base-n text shows the value at n alignments; characters that hang on its neighbours are cut off.
    for shift in 0..3 {
        for (name, encoding) in [("base64", &BASE64_NOPAD), ("base64url", &BASE64URL_NOPAD)] {
            all.push((name, false, aligned(encoding, core, shift, 6)));
        }
    }
    for shift in 0..5 {
        all.push(("base32", true, aligned(&BASE32_NOPAD, core, shift, 5).to_ascii_lowercase()));
    }
    all
}

fn aligned(encoding: &data_encoding::Encoding, core: &str, shift: usize, bits: usize) -> Vec<u8> {
    let bytes: Vec<u8> = std::iter::repeat_n(0, shift).chain(core.bytes()).collect();
    let text = encoding.encode(&bytes);
    text.as_bytes()[(shift * 8).div_ceil(bits)..bytes.len() * 8 / bits].to_vec()
}

#[test]
fn a_canary_is_found_in_every_disguise() {
    let canaries = Canaries::default();
    let value = canaries.value("email");
    let (_, canary) = canaries.all().remove(0);
    let escaped: String = value.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
    let percent: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
    let shouted = value.to_uppercase();
    let backwards: String = value.chars().rev().collect();
    let hex = HEXLOWER.encode(value.as_bytes());
    for text in [&value, &escaped, &percent, &shouted, &backwards, &hex] {
        assert!(Haystack::new(format!("log: {text}!").as_bytes()).finds(&canary).is_some(), "{text}");
    }
    for prefix in ["", "a", "ab", "abc", "abcd"] {
        let inner = format!("{prefix}{value}{prefix}");
        for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD, &BASE32_NOPAD] {
            let text = encoding.encode(inner.as_bytes());
            assert!(Haystack::new(text.as_bytes()).finds(&canary).is_some(), "{text}");
        }
    }
    assert_eq!(Haystack::new(b"nothing to see").finds(&canary), None);
}

#[test]
fn a_template_gets_one_value_for_a_label() {
    let canaries = Canaries::default();
    let text = canaries.plant("a < b, <name>, <name>, <email.2>");
    let name = canaries.value("name");
    assert!(text.starts_with(&format!("a < b, {name}, {name}, ")), "{text}");
    assert!(text.ends_with("@mail.example"), "{text}");
}
