//! What the policy language says, a line each.

use tidegate::json::automaton::Otherwise::{self, Drop, Keep, Refuse};

use crate::harness::said;

#[track_caller]
fn check(otherwise: Otherwise, rules: &[&str], cases: &[(&str, &str)]) {
    for (document, expected) in cases {
        assert_eq!(said(otherwise, rules, document), *expected, "{rules:?} on {document}");
    }
}

#[test]
fn an_unlisted_leaf_goes_with_its_separator() {
    check(
        Drop,
        &["keep $.b", "keep $.d"],
        &[
            (r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
            (r#"{"b":2,"a":1}"#, r#"{"b":2}"#),
            (r#"{"a":1,"b":2,"c":3,"d":4}"#, r#"{"b":2,"d":4}"#),
            (r#"{"b":2,"c":3,"d":4,"e":5}"#, r#"{"b":2,"d":4}"#),
            (r#"{"a":1}"#, r#"{}"#),
            (r#"{}"#, r#"{}"#),
            (r#"{"a":1,"c":2}"#, r#"{}"#),
        ],
    );
}

#[test]
fn a_container_reached_by_a_wildcard_appears_with_the_first_thing_in_it() {
    check(
        Drop,
        &["keep $.m.*.id", "keep $.m.*.in.*.id"],
        &[
            (r#"{"m":{"a@b.c":{"x":1,"id":2},"d@e.f":{"x":1}}}"#, r#"{"m":{"a@b.c":{"id":2}}}"#),
            (r#"{"m":{"d@e.f":{"x":1},"a@b.c":{"x":1,"id":2}}}"#, r#"{"m":{"a@b.c":{"id":2}}}"#),
            (r#"{"m":{"d@e.f":{"x":1}}}"#, r#"{"m":{}}"#),
            (
                r#"{ "m" : { "p" : { "in" : { "q" : { "x":0 } , "r" : { "x":0 , "id" : 7 } } } } }"#,
                r#"{ "m" : { "p" : { "in" : { "r" : { "id" : 7 } } } } }"#,
            ),
        ],
    );
}
