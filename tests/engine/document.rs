//! Random documents that know how each of their values is spelt.

use proptest::prelude::*;

/// A document as it is spelt.
#[derive(Clone, Debug)]
pub enum Document {
    /// A leaf's spelling.
    Leaf(String),
    Array(Vec<Document>),
    /// Names unescaped, each once.
    Object(Vec<(String, Document)>),
}

/// One step of a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Name(String),
    Index(usize),
}

pub type Place = Vec<Step>;

/// Few names, so that rules and documents meet.
pub const NAMES: &[&str] = &["a", "b", "c", "E-Mail", "e-mail", "a b", "é", "longer-than-eight"];

pub fn documents() -> impl Strategy<Value = Document> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "1",
            "-0.5e+10",
            "12345678901234567890.10",
            "true",
            "false",
            "null",
            "null",
            "\"\"",
            "\"drop\"",
            "\"pass\"",
            "\"later\"",
            "\"\\u0061\\n\"",
            "\"\u{1f600}\"",
            "\"x\"",
            "3",
            "2",
        ])
        .prop_map(String::from),
        (0..40usize).prop_map(|n| format!("\"{}\"", "long \\\\ text ".repeat(n))),
    ];
    leaf.prop_map(Document::Leaf).prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Document::Array),
            prop::collection::vec((prop::sample::select(NAMES), inner), 0..5).prop_map(|members| {
                let mut seen = std::collections::HashSet::new();
                let members = members.into_iter().filter(|(name, _)| seen.insert(*name));
                Document::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

impl Document {
    /// The text, with white space and escapes in names as `taste` says.
    pub fn spell(&self, taste: &[u8]) -> String {
        let mut speller = Speller { out: String::new(), taste, at: 0 };
        speller.space();
        speller.value(self);
        speller.space();
        speller.out
    }
}

struct Speller<'a> {
    out: String,
    taste: &'a [u8],
    at: usize,
}

impl Speller<'_> {
    fn choice(&mut self) -> u8 {
        self.at += 1;
        *self.taste.get(self.at % self.taste.len().max(1)).unwrap_or(&0)
    }
    fn space(&mut self) {
        let n = self.choice();
        self.out.push_str(["", "", "", " ", "\n  ", "\t", "\r\n", "                 "][usize::from(n % 8)]);
    }
    fn value(&mut self, value: &Document) {
        match value {
            Document::Leaf(raw) => self.out.push_str(raw),
            Document::Array(items) => {
                self.out.push('[');
                self.space();
                for (i, item) in items.iter().enumerate() {
                    self.comma(i);
                    self.value(item);
                    self.space();
                }
                self.out.push(']');
            }
            Document::Object(members) => {
                self.out.push('{');
                self.space();
                for (i, (name, item)) in members.iter().enumerate() {
                    self.comma(i);
                    self.name(name);
                    self.space();
                    self.out.push(':');
                    self.space();
                    self.value(item);
                    self.space();
                }
                self.out.push('}');
            }
        }
    }
    fn comma(&mut self, i: usize) {
        if i > 0 {
            self.out.push(',');
            self.space();
        }
    }
    fn name(&mut self, name: &str) {
        self.out.push('"');
        for char in name.chars() {
            if self.choice() % 8 == 7 {
                self.out.push_str(&format!("\\u{:04x}", u32::from(char)));
            } else {
                self.out.push(char);
            }
        }
        self.out.push('"');
    }
}

/// The leaves' spellings and the names, unescaped, of a text that serde_json accepts, in order.
pub fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' => {
                let mut escaped = false;
                rest.char_indices()
                    .skip(1)
                    .find(|(_, c)| {
                        let end = *c == '"' && !escaped;
                        escaped = *c == '\\' && !escaped;
                        end
                    })
                    .map_or(rest.len(), |(i, _)| i + 1)
            }
            '{' | '}' | '[' | ']' | ',' | ':' | ' ' | '\n' | '\r' | '\t' => {
                rest = &rest[1..];
                continue;
            }
            _ => rest.find(['{', '}', '[', ']', ',', ':', ' ', '\n', '\r', '\t']).unwrap_or(rest.len()),
        };
        found.push(rest[..len].to_owned());
        rest = &rest[len..];
    }
    found
}
