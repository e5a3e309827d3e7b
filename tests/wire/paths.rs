//! Targets: the path in its one form, the query, absolute and other forms, `Host` against the authority.

use super::far::Says;
use super::rig::{Case, Gets, Reaches, Rig, json};

fn case(sends: String, reaches: Vec<String>, rows: &'static str) -> Case {
    Case {
        name: sends.lines().next().unwrap_or_default().to_owned(),
        sends: sends.into_bytes(),
        says: Says::Each(json(r#"{"open":"yes","secret":"<secret>"}"#)),
        reaches: Reaches::Exactly(reaches),
        gets: Gets::Rows(rows),
    }
}

/// A target, with what becomes of it upstream.
const GOOD: &[(&str, &str)] = &[
    ("/v1/items", "/v1/items"),
    ("/v1/items?page=1", "/v1/items?page=1"),
    ("/v1/items?secret=1", "/v1/items"),
    ("/v1/items?page=1&secret=2", "/v1/items?page=1"),
    ("/v1/items?", "/v1/items"),
    ("/v1/items/7", "/v1/items/7"),
    ("/v1/items/a-b_c.d~e", "/v1/items/a-b_c.d~e"),
    ("/v1/items/a%20b", "/v1/items/a%20b"),
    ("/v1/items/...", "/v1/items/..."),
    ("/v1/items/.a", "/v1/items/.a"),
    ("/v1/%69tems", "/v1/items"),
    ("/%76%31/items", "/v1/items"),
];

/// Of a path: refused with 400, or unknown with 404, and nothing reaches the upstream.
const BAD: &[&str] = &[
    "/v1/items/..",
    "/v1/items/.",
    "/v1/../v1/items",
    "/v1/./items",
    "/../v1/items",
    "/./v1/items",
    "/v1/items/../items",
    "/v1/x/../items",
    "/v1/items/%2e%2e",
    "/v1/items/%2E%2E",
    "/v1/items/.%2e",
    "/v1/items/%2e.",
    "/v1/items/%2e",
    "/v1/%2e/items",
    "/v1/items/%2e%2e/items",
    "/v1/items/..;/items",
    "/v1/items/..;a=b",
    "/v1/..;/v1/items",
    "/v1/items/.;",
    "/v1/items/..%00",
    "/v1/items/..%3b",
    "/v1/items/..\\",
    "//v1/items",
    "/v1//items",
    "/v1/items//",
    "///v1/items",
    "/v1/items/",
    "/v1/items//7",
    "/v1/items/7/",
    "/v1/items/7//",
    "/v1/items;a=b",
    "/v1/items;",
    "/v1;a/items",
    "/v1/items/7;a=b",
    "/v1/items/7;",
    "/v1/items/;7",
    "/v1/items/7;jsessionid=1",
    "/v1%2fitems",
    "/v1%2Fitems",
    "/v1/items%2f7",
    "/v1/items/a%2fb",
    "/v1/items/a%2Fb",
    "/%2fv1/items",
    "/v1/items/%2f",
    "/v1/items/%2F..",
    "/v1/items/..%2f",
    "/v1/items/..%2f..%2f",
    "/v1/items/%252f",
    "/v1/items/%252e%252e",
    "/v1/items/%25",
    "/v1/items/%2525",
    "/v1/items/%25%32%66",
    "/v1/items/%00",
    "/v1/items/7%00",
    "/v1/items/7%00.json",
    "/v1/items%00",
    "/%00",
    "/v1/items/%01",
    "/v1/items/%0a",
    "/v1/items/%0d",
    "/v1/items/%0d%0a",
    "/v1/items/7%0d%0aHost:%20x",
    "/v1/items/%7f",
    "/v1/items/%1f",
    "/v1/items/%09",
    "/v1/items/%5c",
    "/v1/items/%5C",
    "/v1/items/..%5c",
    "/v1\\items",
    "/v1/items\\7",
    "\\v1\\items",
    "/v1/items/..%5c..%5c",
    "/v1/items/%c0%af",
    "/v1/items/%c0%ae%c0%ae",
    "/v1/items/%c0%2e",
    "/v1/items/%e0%80%af",
    "/v1/items/%f0%80%80%af",
    "/v1/items/%c1%9c",
    "/v1/items/%c0%80",
    "/v1/items/%ff",
    "/v1/items/%fe",
    "/v1/items/%80",
    "/v1/items/%c3",
    "/v1/items/%c3%28",
    "/v1/items/%ed%a0%80",
    "/v1/items/%ed%bf%bf",
    "/v1/items/%f4%90%80%80",
    "/v1/items/%f8%88%80%80%80",
    "/v1/items/%u002e",
    "/v1/items/%u2215",
    "/v1/items/%",
    "/v1/items/%2",
    "/v1/items/%zz",
    "/v1/items/%g0",
    "/v1/items/%0g",
    "/v1/items/% 20",
    "/v1/items/%%",
    "/v1/items/%%35%63",
    "/v1/items/%3f",
    "/v1/items/%3Fpage=1",
    "/v1/items/%23",
    "/v1/items/%3b",
    "/v1/items/%3B",
    "/v1/items/7%3f",
    "/V1/items",
    "/v1/ITEMS",
    "/v1/Items",
    "/V1/ITEMS/7",
    "/v1/item%53",
    "/v1/items%20",
    "/v1/items%09",
    "/v1/ items",
    "/v1",
    "/",
    "/v1/item",
    "/v1/itemss",
    "/v1/items/7/8",
    "/v1/items.json",
    "/items",
    "/v2/items",
    "/v1/items?page=1;x=2",
    "/v1/items?page=1?x=2",
    "/v1/items?page=%",
    "/v1/items?page=%zz",
    "/v1/items?page=%ff",
    "/v1/items?page=%c0%af",
    "/v1/items#",
    "/v1/items#x",
    "/v1/items#/../x",
    "/v1/items?page=1#x",
    "/v1/items/#/7",
    "#",
    "/v1/items?#",
    "/v1/items?page=\"1\"",
    "/v1/items?page={1}",
    "/v1/items?page=1|2",
    "/v1/items?page=<1>",
    "/v1/items?page=`1`",
    "/v1/items/{7}",
    "/v1/items/\"7\"",
    "/v1/items/<7>",
    "/v1/items/7^",
    "/v1/items/`7`",
    "/v1/items/|7",
    "/v1/items/[7]",
    "/v1/items/\u{e4}",
    "/v1/items/\u{2215}",
    "/v1/items/\u{ff0e}\u{ff0e}",
    "\u{ff0f}v1/items",
    "/v1/items/\u{202e}",
];

/// Of a target that is no path.
const FORMS: &[&str] = &[
    "*",
    "v1/items",
    "items",
    ".",
    "..",
    "?page=1",
    "localhost",
    "localhost:80",
    "localhost/v1/items",
    "//localhost/v1/items",
    "http:/v1/items",
    "http:///v1/items",
    "http://",
    "http:",
    "://localhost/v1/items",
    "http//localhost/v1/items",
    "file:///etc/passwd",
    "javascript:1",
    "data:,1",
    "http://other/v1/items",
    "https://other/v1/items",
    "http://localhost@other/v1/items",
    "http://other@localhost/v1/items",
    "http://localhost:1/v1/items",
    "http://user:pw@localhost/v1/items",
    "http://localhost,other/v1/items",
    "http://localhost%00/v1/items",
    "http://localhost%2f/v1/items",
    "http://localhost\\other/v1/items",
    "http://localhost#other/v1/items",
    "http://localhost?/v1/items",
    "http://[::1]/v1/items",
    "http://[::1/v1/items",
    "http://localhost:/v1/items",
    "http://localhost:x/v1/items",
    "http://localhost:99999/v1/items",
    "http://.localhost/v1/items",
    "http://localhost./v1/items",
    "http://127.0.0.1/v1/items",
    "http://0/v1/items",
    "http://localhost/v1/../v1/items",
    "http://localhost//v1/items",
    "http://localhost/V1/items",
    "http://localhost",
    "http://localhost/",
];

/// The fields of a request in the place of its `Host`.
const HOSTS: &[&str] = &[
    "",
    "host: a\r\nhost: a",
    "host: localhost\r\nhost: other",
    "host: localhost\r\nHost: localhost",
    "host: localhost, other",
    "host: localhost,other",
    "host:",
    "host: ",
    "host: a b",
    "host: localhost@other",
    "host: other@localhost",
    "host: http://localhost",
    "host: localhost/",
    "host: localhost/v1",
    "host: localhost?x",
    "host: localhost#x",
    "host: localhost\\x",
    "host: \u{e4}",
    "host: localhost\t:80 x",
    "host : localhost",
    "host: localhost\r\n x",
    " host: localhost",
    "host: localhost\0",
    "x: y\nhost: localhost",
];

#[test]
fn a_target_in_order_reaches_the_upstream_as_it_is() {
    let get = |(target, _): &(&str, &str)| format!("GET {target} HTTP/1.1\r\n@auth@connection: close\r\n\r\n");
    let mut all: Vec<_> = GOOD.iter().map(|line| case(get(line), vec![format!("GET {}", line.1)], "200")).collect();
    for form in ["http://localhost", "HTTP://localhost", "http://LOCALHOST"] {
        let sends = format!("GET {form}/v1/items HTTP/1.1\r\n@auth@connection: close\r\n\r\n");
        all.push(case(sends, vec!["GET /v1/items".to_owned()], "200"));
    }
    Rig::start(&[]).run("targets in order", &all);
}

#[test]
fn a_path_that_is_not_normal_reaches_nobody() {
    let all: Vec<_> = BAD
        .iter()
        .map(|path| {
            case(format!("GET {path} HTTP/1.1\r\n@auth@connection: close\r\n\r\n"), Vec::new(), "400 | 404 | -")
        })
        .collect();
    Rig::start(&[]).run("paths", &all);
}

#[test]
fn a_target_that_is_no_path_reaches_nobody() {
    let all: Vec<_> = FORMS
        .iter()
        .map(|form| {
            case(format!("GET {form} HTTP/1.1\r\n@auth@connection: close\r\n\r\n"), Vec::new(), "400 | 404 | -")
        })
        .collect();
    Rig::start(&[]).run("forms of a target", &all);
}

#[test]
fn a_request_has_one_authority() {
    let send = |host: &&str| {
        let line = if host.is_empty() { String::new() } else { format!("{host}\r\n") };
        format!("GET /v1/items HTTP/1.1\r\n{line}x-api-key: @key@\r\nconnection: close\r\n\r\n")
    };
    let all: Vec<_> = HOSTS.iter().map(|host| case(send(host), Vec::new(), "400 | -")).collect();
    Rig::start(&[]).run("authorities", &all);
}
