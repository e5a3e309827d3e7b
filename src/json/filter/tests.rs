use super::super::path::Path;
use super::*;

fn run(path: &str, document: &str, steps: &mut u64) -> Result<Vec<String>, FaultKind> {
    let path = Path::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let tape = Tape::build(document.as_bytes());
    let mut nodes = Vec::new();
    select(path.segments(), document.as_bytes(), &tape, Tape::ROOT, Tape::ROOT, steps, &mut nodes)?;
    Ok(nodes.into_iter().map(|node| document[tape.span(node)].to_owned()).collect())
}

fn check(path: &str, document: &str, expected: &[&str]) {
    assert_eq!(
        run(path, document, &mut 1_000_000).as_deref(),
        Ok(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
        "{path}"
    );
}

fn fault(path: &str, document: &str, expected: FaultKind) {
    assert_eq!(run(path, document, &mut 1_000_000), Err(expected), "{path}");
}

#[test]
fn counting_nothing_gives_zero() {
    check("$[?count(@.*) == 0]", "[[],[1],{},2]", &["[]", "{}", "2"]);
    check("$[?count(@.a) < 1]", r#"[{"a":1},{"b":1}]"#, &[r#"{"b":1}"#]);
    check("$[?count(@[?@.x]) == 0]", r#"[[{"x":1}],[{"y":1}],[]]"#, &[r#"[{"y":1}]"#, "[]"]);
}

#[test]
fn a_filter_within_a_filter_has_its_own_element() {
    check("$[?@[?@==1]]", "[[1],[2],[2,1],1]", &["[1]", "[2,1]"]);
    check("$[?@[?@.a > $.m]]", r#"{"m":3,"x":[{"a":4}],"y":[{"a":3}]}"#, &[r#"[{"a":4}]"#]);
    check("$[?!@[?!@]]", "[[1],[]]", &["[1]", "[]"]);
}

#[test]
fn nothing_equals_nothing_and_is_neither_more_nor_less() {
    check("$[?@.a == @.b]", r#"[{},{"a":1},{"a":null}]"#, &["{}"]);
    check("$[?@.a <= @.b]", "[{}]", &["{}"]);
    check("$[?@.a >= @.b]", "[{}]", &["{}"]);
    check("$[?@.a < @.b || @.a > @.b || @.a != @.b]", "[{}]", &[]);
    check("$[?@.a == null]", r#"[{},{"a":null}]"#, &[r#"{"a":null}"#]);
    check("$[?length(@.a) == value(@..b)]", "[{}]", &["{}"]);
    check("$[?@.a != 1]", r#"[{},{"a":1},{"a":2}]"#, &["{}", r#"{"a":2}"#]);
}

#[test]
fn only_numbers_and_strings_have_an_order() {
    check("$[?$ > @]", "[[],[1],0]", &[]);
    check("$[?@ <= true]", "[true,false,1]", &["true"]);
    check("$[?@ >= null]", "[null,0]", &["null"]);
    check("$[?@ < 'b']", r#"["a","b","","\u0061","A",1]"#, &[r#""a""#, r#""""#, r#""\u0061""#, r#""A""#]);
    // By code points, not by UTF-16 units.
    check("$[?@ > '\u{ffff}']", r#"["\ud83d\ude00","\uffff","z"]"#, &[r#""\ud83d\ude00""#]);
    check("$[?@ <= @[0]]", "[[1]]", &[]);
}

#[test]
fn numbers_are_compared_as_decimals() {
    let document = "[12345678901234567890.10, 12345678901234567890.1, 12345678901234567890, 1e400, -0, 0.0]";
    check("$[?@ == 12345678901234567890.10]", document, &["12345678901234567890.10", "12345678901234567890.1"]);
    check("$[?@ > 1e399]", document, &["1e400"]);
    check("$[?@ == 0]", document, &["-0", "0.0"]);
    check("$[?@ == 9007199254740993]", "[9007199254740992,9007199254740993]", &["9007199254740993"]);
    check("$[?@ == -1.5e-1]", "[-0.15,-15e-2,0.15]", &["-0.15", "-15e-2"]);
    fault("$[?@ == 1]", "[1e9999999999999999999]", FaultKind::Rule);
}

#[test]
fn containers_are_equal_by_what_is_in_them() {
    let document =
        r#"{"a":{"x":1.0,"y":["b"]},"b":{"y":["\u0062"],"x":1},"c":{"x":1,"y":["b",1]},"d":{"x":1,"z":["b"]}}"#;
    check("$[?@ == $.a]", document, &[r#"{"x":1.0,"y":["b"]}"#, r#"{"y":["\u0062"],"x":1}"#]);
    check("$[?@ == $[0]]", "[[],{},[[]],[]]", &["[]", "[]"]);
    check("$[?@.a == @.b]", r#"[{"a":[1,2],"b":[2,1]},{"a":[],"b":{}}]"#, &[]);
}

#[test]
fn a_list_with_a_node_twice_counts_it_twice_and_selects_it_once() {
    check("$[0,0,-1]", "[7]", &["7"]);
    check("$[?count(@['a','a']) == 2]", r#"[{"a":1}]"#, &[r#"{"a":1}"#]);
    check("$[?value(@['a','a']) == 1]", r#"[{"a":1}]"#, &[]);
    // Below `..` twice: the list holds [[1]] once, [1] twice, 1 three times.
    check("$[?count(@..*..*) == 3]", "[[[[1]]]]", &["[[[1]]]"]);
    check("$..*..*", "[[[1]]]", &["[1]", "1"]);
}

#[test]
fn names_are_compared_after_unescaping_and_every_twin_is_selected() {
    check("$.a", r#"{"\u0061":1,"b":2,"a":3}"#, &["1", "3"]);
    check("$['\\n']", r#"{"\n":1,"\\n":2}"#, &["1"]);
    check("$['\\\\n']", r#"{"\n":1,"\\n":2}"#, &["2"]);
}

#[test]
fn an_object_with_twins_that_a_filter_reads_is_refused() {
    let twins = r#"[{"a":1,"\u0061":2}]"#;
    for path in [
        "$[?@.a]",
        "$[?@.b]",
        "$[?@.*]",
        "$[?@ == @]",
        "$[?length(@) > 0]",
        "$[?@[?@ == 1]]",
        "$[?$..a]",
        "$[?@[0] == 1]",
        "$[?@..b]",
    ] {
        fault(path, twins, FaultKind::DuplicateName);
    }
    check("$[?@]", twins, &[r#"{"a":1,"\u0061":2}"#]);
    check("$[?@ == 1]", twins, &[]);
    check("$[0][?@ > 1]", twins, &["2"]);
    fault("$[?@.x == @.y]", r#"[{"x":[{"a":1,"a":1}],"y":[{"a":1}]}]"#, FaultKind::DuplicateName);
}

#[test]
fn patterns_from_the_document_are_run_within_limits() {
    let document = |pattern: &str| format!(r#"{{"p":"{pattern}","v":["aab","b",1]}}"#);
    check("$.v[?match(@, $.p)]", &document("a+b"), &[r#""aab""#]);
    check("$.v[?search(@, $.p)]", &document("b"), &[r#""aab""#, r#""b""#]);
    check("$.v[?match(@, $.p)]", &document("(((a"), &[]);
    check("$.v[?match(@, $.none)]", &document("b"), &[]);
    check("$.v[?match(@, 1)]", &document("b"), &[]);
    fault("$.v[?match(@, $.p)]", &document("(a{1000}){1000}"), FaultKind::Rule);
    fault("$.v[?match(@, $.p)]", &document(&"a".repeat(2000)), FaultKind::Rule);
    let many: String = (0..2000).map(|i| format!(r#"{{"p":"a{i}"}},"#)).collect();
    assert_eq!(run("$[?match('a', @.p)]", &format!("[{many}0]"), &mut 4_000_000), Err(FaultKind::FilterSteps));
}

#[test]
fn slices_follow_the_rfc_at_every_bound() {
    let ten: Vec<i64> = (0..10).collect();
    let document = format!("{ten:?}");
    let bounds = [None, Some(-12), Some(-10), Some(-3), Some(0), Some(4), Some(9), Some(10), Some(12)];
    for (start, end) in bounds.iter().flat_map(|start| bounds.iter().map(move |end| (*start, *end))) {
        for step in [-11, -3, -1, 0, 1, 2, 5, 11, -9_007_199_254_740_991, 9_007_199_254_740_991] {
            // RFC 9535, section 2.3.4.2.2, word for word.
            let normal = |i: i64| if i >= 0 { i } else { 10 + i };
            let mut picked = Vec::new();
            if step > 0 {
                let (mut i, upper) = (normal(start.unwrap_or(0)).clamp(0, 10), normal(end.unwrap_or(10)).clamp(0, 10));
                while i < upper {
                    picked.push(i);
                    i += step;
                }
            } else if step < 0 {
                let mut i = normal(start.unwrap_or(9)).clamp(-1, 9);
                let lower = normal(end.unwrap_or(-11)).clamp(-1, 9);
                while lower < i {
                    picked.push(i);
                    i += step;
                }
            }
            picked.sort_unstable();
            let expected: Vec<_> = picked.iter().map(i64::to_string).collect();
            let bound = |bound: Option<i64>| bound.map(|b| b.to_string()).unwrap_or_default();
            let path = format!("$[{}:{}:{step}]", bound(start), bound(end));
            assert_eq!(run(&path, &document, &mut 1000), Ok(expected), "{path}");
        }
    }
}

#[test]
fn deep_documents_take_neither_stack_nor_a_step_for_each_ancestor() {
    const DEPTH: usize = 20_000;
    let deep = format!("[{0}1{1},{0}1{1}]", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let nodes = 2 * (DEPTH as u64 + 1) + 1;
    let cost = |path: &str| {
        let mut steps = 4_000_000;
        let found = run(path, &deep, &mut steps).map(|found| found.len());
        (found, 4_000_000 - steps)
    };
    for (path, found, times) in [
        ("$..*", 2 * (DEPTH + 1), 6),
        ("$..*..*", 2 * DEPTH, 11),
        ("$[?@ == $[0]]", 2, 4),
        ("$[?count(@..*) > 0]", 2, 6),
        ("$..[?@ == 1]", 2, 6),
    ] {
        let (got, steps) = cost(path);
        assert!(got == Ok(found) && steps < times * nodes, "{path}: {got:?} in {steps} steps, {nodes} nodes");
    }
    // What is quadratic by its meaning ends at the budget.
    assert_eq!(cost("$..[?@..x]"), (Err(FaultKind::FilterSteps), 4_000_000));
}

#[test]
fn wide_documents_cost_by_their_nodes() {
    let wide = format!("[{}0]", "{\"a\":[1,2]},".repeat(10_000));
    let mut steps = 1_000_000;
    assert_eq!(run("$..*..*..*", &wide, &mut steps).map(|found| found.len()), Ok(20_000));
    assert!(1_000_000 - steps < 500_000, "{steps}");
    // The same from the root for each element is found once.
    let mut steps = 1_000_000;
    assert_eq!(run("$[?count($..a) > 3]", &wide, &mut steps).unwrap().len(), 10_001);
    assert!(1_000_000 - steps < 200_000, "{steps}");
    // For each element over all of its siblings again: the budget.
    assert_eq!(run("$[?@.a == $[-1] || @.a[0] == $[10000]]", &wide, &mut 30_000), Err(FaultKind::FilterSteps));
}

#[test]
fn a_budget_that_is_spent_stays_spent() {
    let mut steps = 3;
    assert_eq!(run("$..a", "[[],[],[]]", &mut steps), Err(FaultKind::FilterSteps));
    assert_eq!((run("$.a", "{}", &mut steps), steps), (Err(FaultKind::FilterSteps), 0));
}

#[test]
fn bytes_without_a_tape_are_refused() {
    fault("$.a", "{\"a\":1", FaultKind::Rule);
}

#[test]
fn one_element_is_judged_alone() {
    let path = Path::parse("$.items[?@.kind == 'x' && @.n >= 2]").unwrap();
    let Selector::Filter(filter) = &path.segments()[1].selectors[0] else { panic!("a filter") };
    let judge = |element: &str| {
        let tape = Tape::build(element.as_bytes());
        holds(filter, element.as_bytes(), &tape, Tape::ROOT, Tape::ROOT, &mut 100)
    };
    assert_eq!(judge(r#"{"kind":"x","n":2.0}"#), Ok(true));
    assert_eq!(judge(r#"{"kind":"x","n":1}"#), Ok(false));
    assert_eq!(judge("5"), Ok(false));
    assert_eq!(judge(r#"{"kind":"x","kind":"y"}"#), Err(FaultKind::DuplicateName));
}

#[test]
fn what_the_root_gave_is_found_once_for_all_elements_of_a_tape_and_never_mixed_up() {
    let document = format!(r#"{{"x":[{}0],"y":[1],"p":"a+"}}"#, r#""aa","#.repeat(500));
    let tape = Tape::build(document.as_bytes());
    let filter = |text: &str| {
        let path = Path::parse(text).unwrap();
        let Selector::Filter(filter) = path.segments()[0].selectors[0].clone() else { panic!("a filter") };
        filter
    };
    let mut steps = 100_000;
    let mut judge = |filter: &Filter, root| {
        let holds = |node| holds(filter, document.as_bytes(), &tape, root, node, &mut steps);
        tape.children(1).map(holds).filter(|held| *held == Ok(true)).count()
    };
    let (many, few, matching) =
        (filter("$[?count($.x.*) == 501]"), filter("$[?count($.y.*) == 1]"), filter("$[?match(@, $.p)]"));
    // Each element alone would cost 500 steps, or the compiling of a pattern.
    assert_eq!((judge(&many, Tape::ROOT), judge(&few, Tape::ROOT), judge(&matching, Tape::ROOT)), (501, 501, 500));
    // Another root, another answer.
    assert_eq!((judge(&many, 1), judge(&many, Tape::ROOT)), (0, 501));
}
