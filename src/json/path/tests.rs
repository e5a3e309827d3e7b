use super::*;

fn class(text: &str) -> Class {
    Path::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).class()
}

/// The text must be refused at this place, with these words in message or help.
fn refused(text: &str, offset: usize, words: &str) {
    let error = Path::parse(text).expect_err(text);
    let all = format!("{} {}", error.message, error.help.clone().unwrap_or_default());
    assert!(error.offset == offset && all.contains(words), "{text}: {error:?}");
}

#[test]
fn names_are_taken_as_they_are_written() {
    let names = |text: &str| Path::parse(text).unwrap().names().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names("$.a['b c',\"d'\"]..é[*].x9"), ["a", "b c", "d'", "é", "x9"]);
    // Unicode white space belongs to the name; the library trims it.
    assert_eq!(names("$.\u{3000}a\u{a0} ..\u{2003}"), ["\u{3000}a\u{a0}", "\u{2003}"]);
    assert_eq!(names("$[' a ', '\u{a0}b\u{a0}', '']"), [" a ", "\u{a0}b\u{a0}", ""]);
    assert_eq!(names(r#"$['\'\\\/\b\f\n\r\t"\u00e9\uD83D\uDE00', "\"'"]"#), ["'\\/\u{8}\u{c}\n\r\t\"é😀", "\"'"]);
    assert_eq!(names("$.true.null.length.count"), ["true", "null", "length", "count"]);
    assert_eq!(Path::parse("$.a ['b']").unwrap().text(), "$.a ['b']");
}

#[test]
fn segments_and_selectors_come_out_as_they_stand() {
    let path = Path::parse("$..[1,-2, 3:-4:5 ,::-1,:,*]['a']").unwrap();
    let [first, second] = path.segments() else { panic!("two segments") };
    let slice = |start, end, step| Selector::Slice { start, end, step };
    assert!(first.descendant && !second.descendant);
    assert_eq!(
        first.selectors,
        [
            Selector::Index(1),
            Selector::Index(-2),
            slice(Some(3), Some(-4), 5),
            slice(None, None, -1),
            slice(None, None, 1),
            Selector::Wildcard
        ]
    );
    assert_eq!(second.selectors, [Selector::Name("a".into())]);
    assert_eq!(Path::parse("$").unwrap().segments(), []);
    assert_eq!(Path::parse("$[9007199254740991]").unwrap().segments()[0].selectors, [Selector::Index(INDEX_MAX)]);
}

#[test]
fn a_path_without_filters_and_negatives_is_streamed() {
    for text in ["$", "$.a", "$..a[*]..*", "$[0,5:9:3]", "$['a','b'][::2][1:]"] {
        assert_eq!(class(text), Class::Stream, "{text}");
    }
}

#[test]
fn a_filter_below_its_element_or_an_index_from_the_end_holds_an_element() {
    for text in ["$.a[?@.b == 1].c", "$[-1]", "$.a[-3:]", "$[:-1:2]", "$.a[?@..b].c[-1]..d", "$[?@[?@.a]]", "$[*,?@.x]"]
    {
        assert_eq!(class(text), Class::Element, "{text}");
    }
}

#[test]
fn what_reads_the_root_or_stands_under_descendants_or_steps_back_holds_the_body() {
    for text in [
        "$[?$.a]",
        "$[?@.a == $.b]",
        "$[?@[?length($) > 1]]",
        "$[?!(@.a || match(@.b, $.c))]",
        "$..[?@.a]",
        "$..a[?@.b]",
        "$..[-1]",
        "$..a[-1:]",
        "$[::-1]",
        "$[5:0:-2]",
        "$.a[?@.x]..b[?@.y]",
        "$[::0]",
        "$[-1][::-1]",
    ] {
        assert_eq!(class(text), Class::Body, "{text}");
    }
}

#[test]
fn a_filter_knows_whether_it_reads_the_root() {
    let reads = |text: &str| match &Path::parse(text).unwrap().segments()[0].selectors[0] {
        Selector::Filter(filter) => filter.reads_root(),
        _ => panic!("a filter"),
    };
    assert!(!reads("$[?@.a == 1 && count(@[?@.b]) > 0]"));
    for text in [
        "$[?value($..a) == @]",
        "$[?1 == length($.a)]",
        "$[?@[?@[?$]]]",
        "$[?search('x', $.p)]",
        "$[?search($.p, 'x')]",
    ] {
        assert!(reads(text), "{text}");
    }
}

#[test]
fn paths_are_equal_by_their_text_and_meaning() {
    let parse = |text| Path::parse(text).unwrap();
    assert_eq!(parse("$[?match(@.a, 'x') && @.b < 1e1]"), parse("$[?match(@.a, 'x') && @.b < 1e1]"));
    let segments = |text| parse(text).segments;
    assert_eq!(segments("$.a[?@.b  ==  'x']"), segments("$['a'][?@[\"b\"]=='x']"));
    assert_ne!(segments("$[?match(@.a, 'x')]"), segments("$[?search(@.a, 'x')]"));
    assert_ne!(segments("$[?match(@.a, 'x')]"), segments("$[?match(@.a, 'y')]"));
}

#[test]
fn a_mistake_is_named_at_its_place() {
    refused("", 0, "empty");
    refused("customer.email", 0, "`$.customer.email`");
    refused(".a", 0, "`$.a`");
    refused(" $.a", 0, "white space before");
    refused("$.a ", 3, "white space after");
    refused("$.a-b.c", 3, "['a-b']");
    refused("$[name]", 2, "`['name']`");
    refused("$.a b", 4, "blanks");
    refused("$.a.", 4, "dot at the end");
    refused("$...a", 3, "two dots");
    refused("$. a", 2, "white space after a dot");
    refused("$.a(", 3, "functions stand before");
    refused("$\u{a0}.a", 1, "white space of a kind");
    refused("$['a\u{1}']", 4, "control character");
    refused(r"$['é\x']", 5, "escape");
    refused(r"$['\ud800\u0041']", 3, "escape");
    refused(r"$['\udc00']", 3, "escape");
    refused("$['a", 2, "never closed");
    refused("$.a[?(@.b]", 9, "does not close");
    refused("$.a[?@.b", 3, "never closed");
    refused("$]", 1, "closes nothing");
    refused("$[]", 2, "brackets hold");
    refused("$[@.a]", 2, "[?@");
    refused("$[?@.a = 1]", 7, "`==`");
    refused("$[?@.a =~ 'x']", 7, "match(");
    refused("$[?@.a and @.b]", 7, "`&&`");
    refused("$[?@.a in ['x']]", 7, "||");
    refused("$[?@.a == x]", 10, "quotes");
    refused("$[?@.a == 1 2]", 12, "two numbers");
    refused("$[?@.a == 01]", 10, "leading zero");
    refused("$[?@.a == 1.]", 11, "in a number");
    refused("$[?@.* == 1]", 7, "single names");
    refused("$[?@[ 'a'] == 1]", 6, "white space inside");
    refused("$[1.0]", 2, "whole number");
    refused("$[-0]", 2, "`0`");
    refused("$[9007199254740992]", 2, "2^53-1");
    refused("$[:-9007199254740992]", 3, "2^53-1");
    refused("$[99999999999999999999]", 2, "2^53-1");
    refused("$[?@.a == 1e9999999999999999999]", 10, "exponent");
}

#[test]
fn functions_are_held_to_their_types_and_none_is_added() {
    refused("$[?length(@.a)]", 3, "> 0");
    refused("$[?count(@.a)]", 3, "> 0");
    refused("$[?@.b && value(@.a)]", 10, "> 0");
    refused("$[?match(@.a, 'x') == true]", 3, "alone");
    refused("$[?true == search(@.a, 'x')]", 11, "alone");
    refused("$[?length(@.*) > 1]", 3, "value(");
    refused("$[?length(@['a','b']) > 1]", 3, "value(");
    refused("$[?length(@..a) > 1]", 3, "value(");
    refused("$[?length(match(@.a, 'x')) > 1]", 10, "no value");
    refused("$[?length((@.a)) > 1]", 3, "condition");
    refused("$[?count(1) > 1]", 3, "wants a path");
    refused("$[?count( length(@.a)) > 1]", 3, "wants a path");
    refused("$[?value(value(@.a)) > 1]", 3, "wants a path");
    refused("$[?value('a') > 1]", 3, "wants a path");
    refused("$[?match(@..a, 'x')]", 3, "value(");
    refused("$[?count (@.a) > 1]", 3, "white space after");
    for foreign in [
        "in(@.a, $.b)",
        "nin(@.a, $.b)",
        "none_of(@.a, $.b)",
        "any_of(@.a, $.b)",
        "subset_of(@.a, $.b)",
        "x(@.a)",
        "Length(@.a)",
    ] {
        refused(&format!("$[?{foreign}]"), 3, "no function");
    }
    for arguments in ["length()", "length(@.a, @.b)", "match(@.a)", "search(@.a, 'x', 'y')"] {
        assert!(Path::parse(&format!("$[?{arguments} == 1]")).is_err(), "{arguments}");
    }
    for good in [
        "length(length(@.a)) == 1",
        "match(@.a, value($..p))",
        "!search('x', @.p)",
        "count(@) == count($..*)",
        "length('a)') < 2",
    ] {
        assert!(Path::parse(&format!("$[?{good}]")).is_ok(), "{good}");
    }
    refused(r"$[?match(@.a, '\\d+')]", 14, "[0-9]");
    refused("$[?@.a || match(@.a, '(a{1000}){1000}')]", 21, "repeats");
}

#[test]
fn limits_are_kept_before_the_parser_sees_the_text() {
    let nest = |open: &str, middle: &str, close: &str, times: usize| {
        format!("$[?{}{middle}{}]", open.repeat(times), close.repeat(times))
    };
    assert!(Path::parse(&nest("(", "@.a", ")", NESTING_MAX - 1)).is_ok());
    assert!(Path::parse(&nest("!(", "@.a", ")", NESTING_MAX - 2)).is_ok());
    assert!(Path::parse(&nest("@[?", "@.a", "]", FILTERS_NESTED_MAX - 1)).is_ok());
    for text in [
        nest("(", "@.a", ")", NESTING_MAX + 1),
        nest("@[?", "@.a", "]", FILTERS_NESTED_MAX),
        // What is exponential in the library: unfinished and nested calls.
        format!("$[?{}1", "length(".repeat(500)),
        nest("count(@[?", "@.a", "])", 100),
        nest("length(", "@.a", ")", 300),
        nest("!", "@.a", "", 4000),
        "[".repeat(4000),
        format!("${}", "[".repeat(4000)),
        format!("$[?{}", "(".repeat(4000)),
        format!("${}", ".a".repeat(SEGMENTS_MAX + 1)),
        format!("$[?@{} == 1]", ".a".repeat(SEGMENTS_MAX + 1)),
        format!("$[{}]", ["*"; SELECTORS_MAX + 1].join(",")),
        format!("$.{}", "a".repeat(PATH_BYTES_MAX)),
    ] {
        assert!(Path::parse(&text).is_err(), "{}", text.get(..60).unwrap_or(&text));
    }
    // The dearest that pass the limits still end: a call that fails inside calls, over and over.
    let calls = format!("{}@.a=={}", "length(".repeat(CALLS_NESTED_MAX), ")".repeat(CALLS_NESTED_MAX));
    let many = vec![calls; 100].join("&&");
    assert!(Path::parse(&format!("$[?{many}]")).is_err());
    assert!(Path::parse(&format!("${}", ".a".repeat(SEGMENTS_MAX))).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"\$([\.\[\]\(\)@\$\?\*:,!=<>&|'"\\ a-f0-9u-]|length\(|match\(|@\.|\p{L}){0,30}"#) {
        if let Err(error) = Path::parse(&text) {
            proptest::prop_assert!(text.is_char_boundary(error.offset), "{error}");
            proptest::prop_assert!(error.offset <= text.len());
        }
    }
}
