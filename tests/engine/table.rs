//! What the policy language says, a line each.

use tidegate::json::automaton::Otherwise::{self, Drop, Keep, Refuse};
use tidegate::json::text;
use tidegate::json::window::TraceOutcome;

use crate::harness::{program, run, run_with, said};

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
fn white_space_before_an_item_goes_with_it_and_the_edges_stay() {
    check(
        Keep,
        &["drop $[?@ == 0]", "drop $.z"],
        &[
            ("[ 0, 2, 3 ]", "[ 2, 3 ]"),
            ("[ 1, 0, 3 ]", "[ 1, 3 ]"),
            ("[ 1, 2, 0 ]", "[ 1, 2 ]"),
            ("[ 0, 0, 3 ]", "[ 3 ]"),
            ("[ 0, 0 ]", "[  ]"),
            ("[ 1 , 0 , 3 ]", "[ 1 , 3 ]"),
            ("[1,\t0\t,3]", "[1\t,3]"),
            ("{\n  \"z\": 1,\n  \"b\": 2\n}\n", "{\n  \"b\": 2\n}\n"),
            ("{\n  \"b\": 2,\n  \"z\": 1\n}\n", "{\n  \"b\": 2\n}\n"),
            ("{\n  \"z\": [1]\n}\n", "{\n  \n}\n"),
            (" \r\n{ } \t", " \r\n{ } \t"),
        ],
    );
}

#[test]
fn what_stays_keeps_its_spelling() {
    let document = "{ \"\\u0061\\/\" : 12345678901234567890.10 ,\t\"b\":[1.0E+2 , -0, \"\\ud83d\\ude00\\\"\" ] , \"b\" : {\"\":true}}";
    check(Keep, &[], &[(document, document)]);
    check(Keep, &["mask $.other", "drop $..none", "null $.b[9]"], &[(document, document)]);
    check(Drop, &["whole $"], &[(document, document)]);
    check(Drop, &["whole $.*"], &[(document, document)]);
    check(Drop, &["keep $..*"], &[(document, document)]);
    check(Refuse, &["keep $..*"], &[(document, document)]);
}

#[test]
fn keep_takes_a_container_only_as_a_whole() {
    check(
        Drop,
        &["keep $.id"],
        &[
            (r#"{"id":1}"#, r#"{"id":1}"#),
            (r#"{"id":null}"#, r#"{"id":null}"#),
            (r#"{"id":{"name":"x"}}"#, r#"{}"#),
            (r#"{"id":["x"]}"#, r#"{}"#),
            (r#"{"id":{}}"#, r#"{}"#),
        ],
    );
    check(
        Drop,
        &["whole $.id"],
        &[(r#"{"id":{"name":["x",{}]},"a":1}"#, r#"{"id":{"name":["x",{}]}}"#), (r#"{"id":[]}"#, r#"{"id":[]}"#)],
    );
}

#[test]
fn exceptions_take_a_place_and_all_below_out_of_a_rule() {
    check(
        Drop,
        &["whole $.items[*] except $.items[*].internal except $..secret"],
        &[(
            r#"{"items":[{"a":1,"internal":{"x":1},"b":{"secret":1,"c":2}},{"internal":1}]}"#,
            r#"{"items":[{"a":1,"b":{"c":2}},{}]}"#,
        )],
    );
    // Another rule may still keep what is taken out of the first.
    check(
        Drop,
        &["whole $.a except $.a.b", "keep $.a.b.c"],
        &[(r#"{"a":{"b":{"c":1,"d":2}}}"#, r#"{"a":{"b":{"c":1}}}"#)],
    );
    // What is dropped around an exception is dropped with it: it has no place left to stand in.
    check(Keep, &["drop $.a except $.a.b"], &[(r#"{"a":{"b":1},"c":2}"#, r#"{"c":2}"#)]);
    check(Keep, &["drop $..* except $.a except $.a.b"], &[(r#"{"a":{"b":1,"c":3},"c":2}"#, r#"{"a":{"b":1,"c":3}}"#)]);
    check(Keep, &["mask $.* except $[?@ == 1]"], &[(r#"{"a":1,"b":2}"#, r#"{"a":1,"b":"<2>"}"#)]);
    check(Keep, &["mask $ except $"], &[(r#"{"a":1}"#, r#"{"a":1}"#)]);
}

#[test]
fn the_strictest_rule_wins_in_any_order() {
    let document = r#"{"a":"x","b":"x"}"#;
    for (rules, expected) in [
        (["keep $.a", "mask $.a"], r#"{"a":"<x>"}"#),
        (["mask $.a", "token $.a"], r#"{"a":"<x>"}"#),
        (["token $.a", "put:7 $.a"], r#"{"a":7}"#),
        (["put:7 $.a", "null $.a"], r#"{"a":null}"#),
        (["null $.a", "drop $.a"], r#"{}"#),
        (["keep $.a", "drop $..a"], r#"{}"#),
    ] {
        let [first, second] = rules;
        check(Drop, &[first, second], &[(document, expected)]);
        check(Drop, &[second, first], &[(document, expected)]);
    }
}

#[test]
fn a_tie_between_different_settings_drops() {
    check(Drop, &["mask:1 $.a", "mask:2 $.a", "keep $.b"], &[(r#"{"a":"x","b":1}"#, r#"{"b":1}"#)]);
    check(Drop, &["mask:1 $.a", "mask:1 $['a']"], &[(r#"{"a":"x"}"#, r#"{"a":"<x>"}"#)]);
    check(Drop, &["mask:1 $.a", "mask:2 $.a", "token $.a"], &[(r#"{"a":"x"}"#, r#"{"a":"<x>"}"#)]);
    check(Keep, &["put:7 $.a", "put:[7] $.a"], &[(r#"{"a":{"x":1},"b":1}"#, r#"{"b":1}"#)]);
    check(Drop, &["mask:1 $.a", "mask:2 $.a.b"], &[(r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"c":"<2>"}}"#)]);
}

#[test]
fn drop_null_and_replace_act_on_the_whole_and_on_null() {
    let documents = [r#"{"a":1,"b":2}"#, r#"{"a":{"x":[1,"y"]},"b":2}"#, r#"{"a":null,"b":2}"#, r#"{"a":[],"b":2}"#];
    for document in documents {
        check(Keep, &["drop $.a"], &[(document, r#"{"b":2}"#)]);
        check(Keep, &["null $.a"], &[(document, r#"{"a":null,"b":2}"#)]);
        check(Keep, &["put:{\"z\":[]} $.a"], &[(document, r#"{"a":{"z":[]},"b":2}"#)]);
        check(Drop, &["null $.a"], &[(document, r#"{"a":null}"#)]);
    }
    check(Keep, &["null $.a", "keep $.a.x", "mask $..x"], &[(r#"{"a":{"x":1}}"#, r#"{"a":null}"#)]);
    check(Keep, &["drop $.a", "null $.a.x"], &[(r#"{"a":{"x":1}}"#, r#"{}"#)]);
}

#[test]
fn a_transformation_acts_on_each_leaf_and_leaves_null() {
    check(
        Drop,
        &["mask $.a"],
        &[
            (r#"{"a":"x"}"#, r#"{"a":"<x>"}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":[1,null,{"b":true,"c":[]},[]]}"#, r#"{"a":["<1>",null,{"b":"<true>"}]}"#),
            (r#"{"a":{}}"#, r#"{"a":{}}"#),
            (r#"{"a":"later","b":1}"#, r#"{"a":"<later>"}"#),
            (r#"{"a":["later", "x", "later"]}"#, r#"{"a":["<later>", "<x>", "<later>"]}"#),
            (r#"{"a":["drop",1,"drop","drop",2,"drop"]}"#, r#"{"a":["<1>","<2>"]}"#),
            (r#"{"a":"pass"}"#, r#"{"a":"pass"}"#),
            (r#"{"a":"broken"}"#, "json_rule $['a'] +5"),
            (r#"{"x":0,"a":["refuse"]}"#, "json_rule $['a'][0] +12"),
        ],
    );
}

#[test]
fn the_failed_rule_is_named() {
    let said = run(&program(Keep, &["keep $.x", "mask $.a"]), br#"{"a":"refuse"}"#);
    assert_eq!(said.failed, Some(1));
}

#[test]
fn a_container_that_names_lead_to_stays_empty_and_one_that_no_rule_reaches_goes() {
    check(
        Drop,
        &["keep $.a.b", "keep $.l[1].x", "drop $.d.x"],
        &[
            (r#"{"a":{"c":1}}"#, r#"{"a":{}}"#),
            (r#"{"a":[1]}"#, r#"{"a":[]}"#),
            (r#"{"l":[{"x":1},{"y":1},{"x":3}]}"#, r#"{"l":[{}]}"#),
            (r#"{"z":{"b":1}}"#, r#"{}"#),
            // A rule that removes never makes anything appear.
            (r#"{"d":{"x":1,"y":2}}"#, r#"{}"#),
        ],
    );
    check(Drop, &["keep $.l[-1].x"], &[(r#"{"l":[{"x":1},{"y":1}]}"#, r#"{"l":[{}]}"#)]);
}

#[test]
fn a_container_reached_by_a_wildcard_appears_with_the_first_thing_in_it() {
    check(
        Drop,
        &["keep $.m.*.id", "keep $.m.*.in.*.id"],
        &[
            (r#"{"m":{"a@b.c":{"x":1,"id":2},"d@e.f":{"x":1}}}"#, r#"{"m":{"a@b.c":{"id":2}}}"#),
            (r#"{"m":{"d@e.f":{"x":1},"a@b.c":{"x":1,"id":2}}}"#, r#"{"m":{"a@b.c":{"id":2}}}"#),
            (r#"{"m":{"p":{"id":1}, "d@e.f":{"x":1}, "q":{"x":1, "id":2}}}"#, r#"{"m":{"p":{"id":1}, "q":{"id":2}}}"#),
            (r#"{"m":{"d@e.f":{"x":1}}}"#, r#"{"m":{}}"#),
            (
                r#"{ "m" : { "p" : { "in" : { "q" : { "x":0 } , "r" : { "x":0 , "id" : 7 } } } } }"#,
                r#"{ "m" : { "p" : { "in" : { "r" : { "id" : 7 } } } } }"#,
            ),
            (
                r#"{"m":{"p":{"z":{"z":[]},"in":{"q":{"id":1,"x":0},"s":{},"r":{"x":0,"id":7}}},"t":{"in":{"u":{}}}}}"#,
                r#"{"m":{"p":{"in":{"q":{"id":1},"r":{"id":7}}}}}"#,
            ),
        ],
    );
    check(
        Drop,
        &["keep $..id"],
        &[
            (r#"[[[[[{"x":[[]]},{"id":1}]]]],[[]],{"id":[]}]"#, r#"[[[[[{"id":1}]]]]]"#),
            (r#"{"a":{"b":{"c":1}}}"#, r#"{}"#),
        ],
    );
    check(Drop, &["null $.*.id"], &[(r#"{"a":{"x":1,"id":{}},"b":{"x":1}}"#, r#"{"a":{"id":null}}"#)]);
    check(
        Drop,
        &["mask $.*.id"],
        &[(
            r#"{"a":{"id":"drop"},"b":{"id":"later"},"c":{"id":"pass"}}"#,
            r#"{"b":{"id":"<later>"},"c":{"id":"pass"}}"#,
        )],
    );
}

#[test]
fn the_root_is_a_place_too() {
    check(Drop, &[], &[("1", "null"), (" {\"a\":1} ", " null "), ("[]", "null"), ("\"x\"", "null"), ("null", "null")]);
    check(Drop, &["keep $.a"], &[("1", "null"), ("[1,2]", "[]"), (" true\n", " null\n")]);
    check(
        Drop,
        &["keep $"],
        &[("1", "1"), ("-1.5e3 ", "-1.5e3 "), ("\"x\"", "\"x\""), ("null", "null"), ("{\"a\":1}", "null")],
    );
    check(Keep, &["drop $"], &[("{\"a\":[1]}", "null"), ("7", "null")]);
    check(Keep, &["mask $"], &[("7", "\"<7>\""), ("\"drop\"", "null"), ("[7]", "[\"<7>\"]"), ("null", "null")]);
    check(Keep, &["put:[1] $"], &[("{\"a\":1}", "[1]"), ("7", "[1]")]);
    check(Drop, &["drop $.a"], &[("{\"a\":1}", "null")]);
}

#[test]
fn removed_elements_shift_and_indices_are_those_of_the_document() {
    check(
        Drop,
        &["keep $[1]", "mask $[3:]", "keep $[-1:]"],
        &[("[10,11,12,13,14]", "[11,\"<13>\",\"<14>\"]"), ("[10,11]", "[11]"), ("[10]", "[10]")],
    );
    check(Keep, &["drop $[::2]"], &[("[0,1,2,3,4]", "[1,3]")]);
    check(Keep, &["drop $[-2]", "null $[-1]"], &[("[0,1,2]", "[0,null]"), ("[2]", "[null]"), ("[]", "[]")]);
    check(Keep, &["drop $[::-2]"], &[("[0,1,2,3]", "[0,2]")]);
    check(
        Keep,
        &["drop $[1:4:2]", "drop $..[0].x"],
        &[("[0,1,2,3,4]", "[0,2,4]"), (r#"[[{"x":1}],{"x":1}]"#, "[[{}]]")],
    );
}

#[test]
fn each_occurrence_of_a_name_gets_the_rule() {
    check(Keep, &["drop $.a"], &[(r#"{"a":1,"b":2,"a":{"c":3},"a":[]}"#, r#"{"b":2}"#)]);
    check(Drop, &["mask $.a"], &[(r#"{"a":1,"b":2,"a":{"c":3}}"#, r#"{"a":"<1>","a":{"c":"<3>"}}"#)]);
    check(Keep, &["drop $.l[?@.a == 1]"], &[(r#"{"l":[{"a":1,"a":2}]}"#, "json_duplicate_name $['l'][0] +6")]);
}

#[test]
fn names_are_compared_unescaped() {
    check(Keep, &["drop $.ssn"], &[(r#"{"s\u0073n":1,"ssn":2,"\u0073\u0073\u006E":3,"ssN":4}"#, r#"{"ssN":4}"#)]);
    check(
        Keep,
        &["drop $['\u{1f600}']", "drop $['a/\"b']"],
        &[(r#"{"\ud83d\ude00":1,"a\/\"b":2,"a/\"b":2}"#, r#"{}"#)],
    );
}

#[test]
fn a_filter_tells_numbers_apart_that_only_a_comma_parts() {
    check(
        Keep,
        &["drop $[?@.a[1] == 2]", "drop $[?@.n == 12]"],
        &[
            (r#"[{"a":[1,2]},{"a":[1.5,2]},{"a":[1,3]},{"a":[1,25,2]}]"#, r#"[{"a":[1,3]},{"a":[1,25,2]}]"#),
            (r#"[{"z":1,"n":12},{"z":[1,2],"n":12},{"n":1,"z":12}]"#, r#"[{"n":1,"z":12}]"#),
        ],
    );
}

#[test]
fn every_spelling_of_a_folded_name_is_found_wherever_it_stands() {
    let rules = [
        "~drop $..email",
        "~drop $..ssn",
        "~drop $..BeneficiaryAccountNumber",
        "~drop $..['']",
        "~drop $..stra\u{df}e",
        "~drop $.o['id']",
    ];
    let gone = [
        "email",
        "EMAIL",
        "eMaIl",
        " email",
        "email ",
        "e\u{ad}mail",
        "\u{ff45}mail",
        "ema\u{131}l",
        "em\\u0061il",
        "e\u{7f}mail",
        "email\u{200b}",
        "SSN",
        "\u{17f}sn",
        "s\u{17f}n",
        "beneficiaryaccountnumber",
        "BENEFICIARYACCOUNTNUMBER",
        "beneficiaryacc\u{ad}ountnumber",
        "",
        "  ",
        "\u{200b}",
        "STRASSE",
        "Stra\u{df}e",
        "strasse",
        "ID",
        "id ",
    ];
    let kept = [
        "e-mail",
        "emai",
        "emailx",
        "EMAI1",
        "@mail",
        "`mail",
        "ssm",
        "beneficiaryXaccountnumber",
        "gr\u{fc}n",
        "x",
        "{sn",
        "strase",
        "e mail",
        "ie",
    ];
    let member = |name: &&str| format!("\"{name}\":1");
    for filling in [0, 3, 400] {
        for name in gone.iter().chain(&kept) {
            let many = |n: usize| (0..n).map(|n| kept[n % kept.len()]).collect::<Vec<_>>();
            let (before, behind) = (many(filling), many(filling + 9));
            let all: Vec<_> = before.iter().chain([name]).chain(&behind).map(member).collect();
            let left: Vec<_> =
                before.iter().chain(Some(name).filter(|name| kept.contains(name))).chain(&behind).map(member).collect();
            let document = |members: Vec<String>| format!("{{\"o\":{{{}}}}}", members.join(","));
            assert_eq!(said(Keep, &rules, &document(all)), document(left), "{name:?} behind {filling}");
        }
    }
}

#[test]
fn a_folded_name_is_found_with_a_control_character_in_any_place() {
    for length in 1..=20 {
        let name: String = ('a'..='z').cycle().take(length).collect();
        let rule = format!("~drop $..{name}");
        for place in 0..=length {
            for control in (1..=0x1f_u8).chain([0x7f]) {
                let (before, behind) = name.split_at(place);
                let written = format!("{before}{}{behind}", char::from(control));
                let found = text::fold(&written) == name;
                // A tab within is a blank, which folding keeps; all that shows nothing is taken out.
                assert!(found || control.is_ascii_whitespace() || control == 0x0b);
                let member = format!("\"{before}\\u{control:04x}{behind}\":1");
                let document = format!("{{\"first\":0,{member},\"behind\":2}}");
                let left = if found { r#"{"first":0,"behind":2}"# } else { &document };
                assert_eq!(said(Keep, &[&rule], &document), left, "{written:?}");
            }
        }
    }
}

#[test]
fn a_block_list_compares_names_folded_and_nothing_else_does() {
    let document = r#"{"E-Mail":1," e-mail ":2,"\uff25-mail":3,"e\u200b-mail":4,"email":5}"#;
    check(Keep, &["~drop $['e-mail']"], &[(document, r#"{"email":5}"#)]);
    check(Keep, &["drop $['e-mail']"], &[(document, document)]);
    check(Keep, &["~mask $['E-MAIL']", "drop $['E-Mail']"], &[(r#"{"E-Mail":1,"e-mail":2}"#, r#"{"e-mail":"<2>"}"#)]);
    // An exception is never widened by a fold.
    check(Keep, &["~drop $.* except $['e-mail']"], &[(r#"{"E-Mail":1,"e-mail":2}"#, r#"{"e-mail":2}"#)]);
}

#[test]
fn refuse_names_the_first_field_that_no_rule_lists() {
    check(
        Refuse,
        &["keep $.a", "drop $.b", "null $.c", "mask $.d[*].e"],
        &[
            (r#"{"a":1,"b":{"x":1},"c":[1],"d":[{"e":1}]}"#, r#"{"a":1,"c":null,"d":[{"e":"<1>"}]}"#),
            (r#"{"a":1,"z":2}"#, "json_unlisted $[*] +11"),
            (r#"{"d":[{"e":1,"f":2}]}"#, "json_unlisted $['d'][0][*] +17"),
            (r#"{"a":{"x":1}}"#, "json_unlisted $['a'] +5"),
            (r#"{"a":{}}"#, "json_unlisted $['a'] +5"),
            ("3", "json_unlisted $ +0"),
        ],
    );
}

#[test]
fn filters_see_the_document_as_it_arrived() {
    let document = r#"{"o":[{"k":"x","v":1},{"k":"y","v":2},{"v":3}],"t":"y"}"#;
    check(Drop, &["keep $.o[?@.k == 'x'].v", "drop $..k"], &[(document, r#"{"o":[{"v":1}]}"#)]);
    check(Keep, &["drop $.o[?@.k == $.t]", "drop $.t"], &[(document, r#"{"o":[{"k":"x","v":1},{"v":3}]}"#)]);
    check(Keep, &["drop $..[?@.k]"], &[(document, r#"{"o":[{"v":3}],"t":"y"}"#)]);
    check(
        Keep,
        &["mask $.o[?@.v > 1]['v'][?@]", "null $[?@ == 'y']"],
        &[(document, &document.replace(r#""t":"y""#, r#""t":null"#))],
    );
    check(Keep, &["drop $.o[?count(@.*) == 1]"], &[(document, r#"{"o":[{"k":"x","v":1},{"k":"y","v":2}],"t":"y"}"#)]);
    check(Keep, &["drop $[?@ > 1]"], &[("[1,2,1.0,1e0,3]", "[1,1.0,1e0]"), ("5", "5"), ("[2]", "[]")]);
}

#[test]
fn counts_say_who_decided_and_matched_who_was_there() {
    let document = br#"{"a":{"b":1,"c":[2,null]},"d":{"b":3},"e":[{"b":4}]}"#;
    let said = run(&program(Drop, &["whole $.a", "mask $.a.c", "drop $.d", "keep $..b", "keep $.no"]), document);
    assert_eq!(said.out.unwrap(), r#"{"a":{"b":1,"c":["<2>",null]},"e":[{"b":4}]}"#);
    assert_eq!(said.counts, [1, 1, 1, 1, 0]);
    assert_eq!(said.matched, [1, 1, 1, 2, 0]);
}

#[test]
fn a_trace_has_a_line_for_each_leaf_and_for_what_goes_as_a_whole() {
    let document =
        r#"{"a":{"it's":1,"x":null},"b":["s",true,{"z":[]}],"c":{"d":1},"e":{"f":"pass"},"g":{"h":2},"i":[3]}"#;
    let rules = ["whole $.a", "mask $.b", "drop $.c", "mask $.e", "put:[7] $.g", "null $.i[0]"];
    let (ran, lines) = run_with(&program(Drop, &rules), document.as_bytes(), 4, true, true);
    assert_eq!(
        ran.out.unwrap(),
        r#"{"a":{"it's":1,"x":null},"b":["<s>","<true>"],"e":{"f":"pass"},"g":[7],"i":[null]}"#
    );
    let said: Vec<String> = (lines.iter())
        .map(|line| {
            let put = line.put.as_ref().map(|put| String::from_utf8(put.clone()).unwrap());
            let by = line.selection.map_or("-", |by| rules[by]);
            format!("{} {:?} {:?} by {by} {}", line.location, line.kind, line.outcome, put.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        said,
        [
            "$['a']['it\\'s'] Some(Number) Kept by whole $.a ",
            "$['a']['x'] None Kept by whole $.a ",
            "$['b'][0] Some(String) Transformed by mask $.b \"<s>\"",
            "$['b'][1] Some(True) Transformed by mask $.b \"<true>\"",
            "$['b'][2]['z'] None Dropped by - ",
            "$['c'] None Dropped by drop $.c ",
            "$['e']['f'] Some(String) Kept by mask $.e ",
            "$['g'] None Replaced by put:[7] $.g [7]",
            "$['i'][0] Some(Number) Null by null $.i[0] null",
        ]
    );
    let (_, lines) = run_with(&program(Drop, &["keep $.a"]), br#"{"a":1,"u":{"v":[2]}}"#, 4, true, true);
    let lines: Vec<_> = lines.into_iter().map(|line| (line.location, line.outcome)).collect();
    let expected = [("$['a']", TraceOutcome::Kept), ("$['u']['v'][0]", TraceOutcome::Dropped)];
    assert_eq!(lines, expected.map(|(location, outcome)| (location.to_owned(), outcome)));
}
