//! The policies, and what is done with the values that they transform.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate::json::Limits;
use tidegate::json::automaton::{Otherwise, Program, Selection, Verb};
use tidegate::json::path::Path;
use tidegate::json::window::{Judge, Judgement, Leaf};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Keep,
    Drop,
    Mask,
    Pseudonymize,
}

/// Paths with what is done at them, and what is done elsewhere.
pub struct Policy {
    pub name: &'static str,
    pub rules: Vec<(Act, String)>,
    pub keeps: bool,
    /// Are names compared folded, as in policies that keep what is not listed?
    pub folds: bool,
}

fn policy(name: &'static str, keeps: bool, rules: &[(Act, &str)]) -> Policy {
    Policy { name, keeps, folds: false, rules: rules.iter().map(|(act, path)| (*act, (*path).to_owned())).collect() }
}

/// (a): four rules that look everywhere; all else stays.
pub fn block() -> Policy {
    let rules =
        [(Act::Drop, "$..ssn"), (Act::Drop, "$..card"), (Act::Pseudonymize, "$..email"), (Act::Mask, "$..phone")];
    policy("a", true, &rules)
}

/// (b): twelve fields stay; all else goes.
pub fn allow() -> Policy {
    let paths = [
        "$.orders[*].id",
        "$.orders[*].status",
        "$.orders[*].total",
        "$.orders[*].currency",
        "$.orders[*].customer.id",
        "$.orders[*].customer.vip",
        "$.orders[*].customer.address.city",
        "$.orders[*].customer.address.zip",
        "$.orders[*].items[*].sku",
        "$.orders[*].items[*].qty",
        "$.orders[*].items[*].price",
        "$.orders[*].payment.ok",
    ];
    policy("b", false, &paths.map(|path| (Act::Keep, path)))
}

/// (c): so many rules: those of (a), and drops of names that hardly come up, every tenth of them everywhere.
pub fn long(name: &'static str, number: usize) -> Policy {
    let mut policy = block();
    policy.name = name;
    let more = (1..).map(|n| (Act::Drop, if n % 10 == 9 { format!("$..x{n}") } else { format!("$.orders[*].x{n}") }));
    policy.rules.extend(more.take(number.saturating_sub(policy.rules.len())));
    policy
}

/// (d): nothing matches.
pub fn nothing() -> Policy {
    policy("d", true, &[(Act::Drop, "$..iban"), (Act::Drop, "$..passport"), (Act::Mask, "$..birthday")])
}

/// No rule at all: validated and copied.
pub fn pass() -> Policy {
    policy("pass", true, &[])
}

impl Policy {
    /// The same with folded names.
    pub fn folded(mut self) -> Self {
        self.folds = true;
        self
    }

    pub fn program(&self) -> Arc<Program> {
        let selections = self.rules.iter().enumerate().map(|(number, (act, path))| Selection {
            path: Path::parse(path).unwrap(),
            except: Vec::new(),
            verb: match act {
                Act::Keep => Verb::Keep { whole: false },
                Act::Drop => Verb::Drop,
                Act::Mask | Act::Pseudonymize => Verb::Transform,
            },
            rank: match act {
                Act::Keep => 0,
                Act::Drop => 9,
                Act::Mask => 1,
                Act::Pseudonymize => 4,
            },
            settings: number as u32,
            folded: self.folds,
        });
        let otherwise = if self.keeps { Otherwise::Keep } else { Otherwise::Drop };
        Arc::new(Program::new(selections.collect(), otherwise, Limits::default()).unwrap())
    }
}

/// What gives a pseudonym or a token.
pub enum Vault {
    /// HMAC-SHA-256, keyed once, 128 bits in hexadecimal digits.
    Hashes(Box<Hmac<Sha256>>),
    /// Sealed tokens, as `tokenize` gives them.
    Seals(tidegate::vault::Sealer),
}

impl Vault {
    pub fn hashes() -> Self {
        Self::Hashes(Box::new(Hmac::new_from_slice(&[7; 32]).unwrap()))
    }

    pub fn seals() -> Self {
        use tidegate::ids::{DomainId, Shape};
        use tidegate::keys::{self, KeyRing};
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        keys::init(&keys).unwrap();
        let vault = tidegate::vault::Vault::new(Arc::new(KeyRing::open(&keys).unwrap()));
        Self::Seals(vault.sealer(&DomainId::parse("bench").unwrap(), None, Shape::Opaque).unwrap())
    }

    pub fn stand_in(&self, raw: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Hashes(keyed) => {
                let mut mac = Hmac::clone(keyed);
                mac.update(&raw[1..raw.len() - 1]);
                let start = out.len();
                out.resize(start + 32, 0);
                data_encoding::HEXLOWER.encode_mut(&mac.finalize().into_bytes()[..16], &mut out[start..]);
            }
            Self::Seals(sealer) => {
                let text = std::str::from_utf8(&raw[1..raw.len() - 1]).unwrap();
                sealer.issue(tidegate::vault::token::Value::Text(text), out);
            }
        }
    }
}

/// Judges as the acts say.
pub struct Clerk<'a> {
    pub acts: &'a [Act],
    pub vault: &'a Vault,
}

impl Judge for Clerk<'_> {
    fn judge(&mut self, leaf: Leaf<'_>, out: &mut Vec<u8>) -> Judgement {
        stand_in(self.acts[leaf.selection], self.vault, leaf.raw, out);
        Judgement::Put
    }
}

/// What takes a value's place, with its quotes.
pub fn stand_in(act: Act, vault: &Vault, raw: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match act {
        Act::Pseudonymize => vault.stand_in(raw, out),
        _ => {
            out.extend_from_slice(b"******");
            out.extend_from_slice(&raw[raw.len().saturating_sub(3).max(1)..raw.len() - 1]);
        }
    }
    out.push(b'"');
}
