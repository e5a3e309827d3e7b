//! What the engine is held against: the same rules by trees of values, and the copy that nothing can beat.
//!
//! They take policies by names alone (`$..name`), without a path evaluator: quicker than with one, so the ratios are on their side.

use std::collections::HashMap;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;
use simd_json::prelude::Writable as _;
use sonic_rs::{JsonValueMutTrait as _, JsonValueTrait as _};

use crate::policies::{Act, Policy, Vault, stand_in};

/// serde_json's `Value`, pruned by what jsonpath-rust finds.
pub struct ByValue {
    queries: Vec<(Act, JpQuery)>,
    keeps: bool,
}

impl ByValue {
    pub fn new(policy: &Policy) -> Self {
        let queries = policy.rules.iter().map(|(act, path)| (*act, parse_json_path(path).unwrap())).collect();
        Self { queries, keeps: policy.keeps }
    }

    pub fn run(&self, vault: &Vault, body: &[u8], out: &mut Vec<u8>) {
        let value: Value = serde_json::from_slice(body).unwrap();
        let mut found = HashMap::new();
        for (act, query) in &self.queries {
            for node in js_path_process(query, &value).unwrap() {
                found.insert(std::ptr::from_ref(node.clone().val()), *act);
            }
        }
        out.clear();
        serde_json::to_writer(out, &self.prune(&value, &found, vault)).unwrap();
    }

    fn prune(&self, value: &Value, found: &HashMap<*const Value, Act>, vault: &Vault) -> Option<Value> {
        match (found.get(&std::ptr::from_ref(value)), value) {
            (Some(Act::Drop), _) => None,
            (Some(act @ (Act::Mask | Act::Pseudonymize)), Value::String(text)) => {
                Some(replaced(*act, vault, text).into())
            }
            (_, Value::Array(items)) => Some(items.iter().filter_map(|v| self.prune(v, found, vault)).collect()),
            (_, Value::Object(members)) => {
                Some(members.iter().filter_map(|(n, v)| Some((n.clone(), self.prune(v, found, vault)?))).collect())
            }
            (None, _) if !self.keeps => None,
            (_, leaf) => Some(leaf.clone()),
        }
    }
}

/// A stand-in without its quotes.
fn replaced(act: Act, vault: &Vault, text: &str) -> String {
    let mut out = Vec::new();
    stand_in(act, vault, format!("\"{text}\"").as_bytes(), &mut out);
    String::from_utf8(out[1..out.len() - 1].to_vec()).unwrap()
}

/// The names of `$..name` rules.
pub fn names(policy: &Policy) -> HashMap<String, Act> {
    policy.rules.iter().filter_map(|(act, path)| Some((path.strip_prefix("$..")?.to_owned(), *act))).collect()
}

/// sonic-rs: parse, change the tree, write.
pub fn by_sonic(names: &HashMap<String, Act>, vault: &Vault, body: &[u8], out: &mut Vec<u8>) {
    fn change(value: &mut sonic_rs::Value, names: &HashMap<String, Act>, vault: &Vault) {
        if let Some(items) = value.as_array_mut() {
            items.iter_mut().for_each(|item| change(item, names, vault));
        } else if let Some(members) = value.as_object_mut() {
            let mut gone = Vec::new();
            for (name, member) in members.iter_mut() {
                match names.get(name) {
                    Some(Act::Drop) => gone.push(name.to_owned()),
                    Some(act) if member.is_str() => {
                        *member = replaced(*act, vault, member.as_str().unwrap()).as_str().into();
                    }
                    _ => change(member, names, vault),
                }
            }
            for name in gone {
                members.remove(&name);
            }
        }
    }
    let mut value: sonic_rs::Value = sonic_rs::from_slice(body).unwrap();
    change(&mut value, names, vault);
    out.clear();
    sonic_rs::to_writer(out, &value).unwrap();
}

/// simd-json: parse (in a copy, which it spoils), change the tree, write.
pub fn by_simd_json(names: &HashMap<String, Act>, vault: &Vault, body: &[u8], out: &mut Vec<u8>) {
    fn change(value: &mut simd_json::OwnedValue, names: &HashMap<String, Act>, vault: &Vault) {
        match value {
            simd_json::OwnedValue::Array(items) => items.iter_mut().for_each(|item| change(item, names, vault)),
            simd_json::OwnedValue::Object(members) => {
                members.retain(|name, _| names.get(name) != Some(&Act::Drop));
                for (name, member) in members.iter_mut() {
                    match (names.get(name), &mut *member) {
                        (Some(act), simd_json::OwnedValue::String(text)) => *text = replaced(*act, vault, text),
                        _ => change(member, names, vault),
                    }
                }
            }
            _ => {}
        }
    }
    let mut copy = body.to_vec();
    let mut value = simd_json::to_owned_value(&mut copy).unwrap();
    change(&mut value, names, vault);
    out.clear();
    value.write(out).unwrap();
}
