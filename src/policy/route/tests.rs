//! Unit tests of the router and of the normal form of request targets.

use proptest::prelude::*;

use super::*;

fn router(routes: &[(&str, &str)]) -> Result<Router, Vec<(usize, usize)>> {
    let parsed: Vec<(Vec<String>, Template)> = routes
        .iter()
        .map(|(methods, path)| (methods.split(',').map(str::to_owned).collect(), Template::parse(path).unwrap()))
        .collect();
    Router::new(parsed.iter().enumerate().map(|(i, (methods, template))| (i, methods.as_slice(), template)))
}

/// `expected`: `2 id=7`, `allow GET, HEAD` or `none`.
#[track_caller]
fn check(routes: &[(&str, &str)], method: &str, path: &str, expected: &str) {
    let found = router(routes).unwrap().find(method, &NormalPath::parse(path).unwrap());
    let text = match found {
        Matched::Route { index, captures } => {
            captures.iter().fold(index.to_string(), |text, (name, value)| format!("{text} {name}={value}"))
        }
        Matched::Method { allow } => format!("allow {allow}"),
        Matched::None => "none".into(),
    };
    assert_eq!(text, expected, "{method} {path}");
}

#[test]
fn a_route_is_found_by_method_and_path() {
    let routes = [("GET", "/v1/orders/{id}"), ("POST,PUT", "/v1/orders"), ("GET", "/")];
    check(&routes, "GET", "/v1/orders/7", "0 id=7");
    check(&routes, "GET", "/v1/orders/a%20b", "0 id=a b");
    check(&routes, "PUT", "/v1/orders", "1");
    check(&routes, "GET", "/", "2");
    check(&routes, "GET", "/v1", "none");
    check(&routes, "GET", "/v1/orders/7/items", "none");
    check(&routes, "get", "/v1/orders/7", "allow GET, HEAD");
    check(&routes, "DELETE", "/v1/orders", "allow POST, PUT");
}

#[test]
fn head_is_served_where_get_is() {
    check(&[("GET", "/a")], "HEAD", "/a", "0");
    check(&[("POST", "/a")], "HEAD", "/a", "allow POST");
}

#[test]
fn a_literal_segment_beats_a_capture() {
    let routes = [("GET", "/orders/{id}"), ("GET", "/orders/search"), ("GET", "/{kind}/{id}")];
    check(&routes, "GET", "/orders/search", "1");
    check(&routes, "GET", "/orders/7", "0 id=7");
    check(&routes, "GET", "/other/7", "2 kind=other id=7");
    check(&[("GET", "/orders/{id}"), ("POST", "/orders/search")], "GET", "/orders/search", "allow POST");
    check(&[("GET", "/a/{x}/c"), ("GET", "/a/b/d")], "GET", "/a/b/c", "0 x=b");
}

#[test]
fn two_routes_that_match_the_same_request_are_reported() {
    assert_eq!(router(&[("GET", "/a/{x}"), ("GET,POST", "/a/{y}")]).unwrap_err(), [(0, 1)]);
    assert_eq!(router(&[("GET", "/a/{x}/c"), ("GET", "/a/b/{y}")]).unwrap_err(), [(0, 1)]);
    assert_eq!(router(&[("GET", "/a"), ("HEAD", "/a")]).unwrap_err(), [(0, 1)]);
    assert!(router(&[("GET", "/a/{x}"), ("POST", "/a/{y}")]).is_ok());
    assert!(router(&[("GET", "/a/{x}/c"), ("POST", "/a/b/{y}")]).is_ok());
    check(&[("GET", "/a/{x}/c"), ("POST", "/a/b/{y}")], "POST", "/a/b/c", "1 y=c");
    check(&[("GET", "/a/{x}/c"), ("POST", "/a/b/{y}")], "GET", "/a/b/c", "0 x=b");
    check(&[("GET", "/a/{x}/c"), ("POST", "/a/b/{y}")], "PUT", "/a/b/c", "allow GET, HEAD, POST");
}

#[test]
fn a_path_that_is_not_normal_is_refused() {
    let wrong = "a|*|/a/|//|/a//b|/.|/a/..|/%2e|/%2E%2e/a|/a;b|/a%3Bb|/a%2fb|/a%2Fb|/a%3Fb|/a%23b|/a%25b|/a%5Cb|/a%00|/a%0A|/a%7f\
                 |/%C2%80|/a?b|/a#b|/a\\b|/a b|/é|/a%|/a%4|/a%zz|/a%+1|/%ff|/%c0%af|/\"|/[a]|/{a}|http://a/";
    for raw in wrong.split('|').chain(["", "/a|b"]) {
        assert_eq!(NormalPath::parse(raw), Err(TargetError::Path), "{raw:?}");
    }
    assert!(NormalPath::parse(&"/a".repeat(SEGMENTS_MAX)).is_ok());
    assert!(NormalPath::parse(&"/a".repeat(SEGMENTS_MAX + 1)).is_err());
}

#[test]
fn a_normal_path_is_decoded() {
    let path = NormalPath::parse("/a%20b/c%C3%A9/..a/x@y.z:~!$&'()*+,=/%41").unwrap();
    assert_eq!(path.segments, ["a b", "cé", "..a", "x@y.z:~!$&'()*+,=", "A"]);
}

#[test]
fn a_query_is_read_in_one_way() {
    let pairs = parse_query("a=1&b=x+y%2B&&c&d=e=f&a=%26").unwrap();
    let read: Vec<(&str, &str)> = pairs.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    assert_eq!(read, [("a", "1"), ("b", "x y+"), ("c", ""), ("d", "e=f"), ("a", "&")]);
    assert_eq!(pairs[1].raw, "b=x+y%2B");
    assert_eq!(parse_query("").unwrap(), []);
    for raw in ["a;b", "a=1?b", "a#", "a=%", "a=%4", "a=%zz", "a=é", "a=%ff", "a=%00", "a[]=1", "a b", "a=\"", "a=\\"]
    {
        assert_eq!(parse_query(raw), Err(TargetError::Query), "{raw:?}");
    }
}

#[test]
fn a_template_says_what_is_wrong_with_it() {
    for wrong in ["", "a", "/a/", "/a//b", "/{}", "/a{b}", "/{a b}", "/{a}/{a}", "/a/..", "/a%2Fb", "/a?b", "/a b"] {
        assert!(Template::parse(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(Template::parse("/a%20b/{x}").unwrap().captures().collect::<Vec<_>>(), ["x"]);
}

proptest! {
    #[test]
    fn an_encoded_segment_is_read_back_as_it_was(text in "\\PC{0,12}") {
        if let Some(raw) = encode_segment(&text) {
            prop_assert_eq!(NormalPath::parse(&format!("/{raw}")).unwrap().segments, [text]);
        }
    }

    #[test]
    fn an_encoded_query_value_is_read_back_as_it_was(text in "[^\\x00]{0,12}") {
        let pairs = parse_query(&format!("q={}", encode_query(&text))).unwrap();
        prop_assert_eq!(&pairs[0].value, &text);
    }

    #[test]
    fn no_target_makes_it_panic(raw in "[/%.;?#&=a-c0-9é\\\\]{0,24}") {
        let _ = NormalPath::parse(&raw);
        let _ = parse_query(&raw);
        let _ = Template::parse(&raw);
    }
}
