//! The documents: what they look like decides what a figure means, so they are made here, from nothing.

use std::fmt::Write as _;

/// A document and its name.
pub struct Document {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// A number that looks like chance and is not.
fn mixed(n: u64) -> u64 {
    n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}

/// Repeats what `one` writes, with commas, until there are so many bytes.
fn many(open: &str, close: &str, bytes: usize, one: impl Fn(&mut String, u64)) -> Vec<u8> {
    let mut out = String::with_capacity(bytes + 1024);
    out.push_str(open);
    let mut n = 0;
    while out.len() < bytes.saturating_sub(close.len()) || n == 0 {
        if n > 0 {
            out.push(',');
        }
        one(&mut out, n);
        n += 1;
    }
    out.push_str(close);
    out.into_bytes()
}

/// An order as an API gives it: about 640 bytes, with one `email`, `phone`, `ssn` and `card`.
fn order(out: &mut String, n: u64) {
    let (id, cents) = (mixed(n), mixed(n + 7) % 100_000);
    write!(
        out,
        "{{\"id\":{id},\"status\":\"{}\",\"total\":{}.{:02},\"paid\":{},\"currency\":\"EUR\",\"customer\":{{\"id\":{},\"name\":\"Anna K{}\",\
         \"email\":\"c{id}@example.org\",\"phone\":\"+4930{:07}\",\"ssn\":\"078-05-{:04}\",\"vip\":{},\"address\":{{\"street\":\"Main St {}\",\
         \"zip\":\"{:05}\",\"city\":\"Berlin\",\"geo\":[52.{:04},13.{:04}]}}}},\"payment\":{{\"card\":\"411111111111{:04}\",\"ok\":true,\"fee\":0.35}},\
         \"items\":[",
        ["open", "paid", "shipped"][(id % 3) as usize],
        cents / 100,
        cents % 100,
        n.is_multiple_of(2),
        id % 99_991,
        id % 1_000,
        id % 10_000_000,
        id % 10_000,
        n.is_multiple_of(7),
        id % 200,
        id % 100_000,
        id % 10_000,
        cents % 10_000,
        id % 10_000,
    )
    .unwrap();
    for item in 0..1 + id % 3 {
        let comma = if item == 0 { "" } else { "," };
        let price = mixed(id + item) % 10_000;
        write!(
            out,
            "{comma}{{\"sku\":\"A{}\",\"qty\":{},\"price\":{}.{:02},\"tags\":[\"x\",\"y{}\"],\"note\":null}}",
            price % 977,
            1 + price % 9,
            price / 100,
            price % 100,
            price % 10,
        )
        .unwrap();
    }
    write!(out, "],\"x1\":{},\"x2\":\"{}\",\"internal\":{{\"margin\":0.2,\"note\":\"\"}}}}", n % 1000, n % 10).unwrap();
}

/// Compact API JSON: about four bytes for each structural character.
pub fn dense(bytes: usize) -> Vec<u8> {
    many("{\"orders\":[", "]}", bytes, order)
}

/// The same, as people print it.
pub fn indented(bytes: usize) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(&dense(bytes / 2)).unwrap();
    serde_json::to_vec_pretty(&value).unwrap()
}

/// Articles: strings of 2 KiB with an escape now and then.
pub fn text(bytes: usize) -> Vec<u8> {
    let words = "It was a bright cold day in April, and the clocks were striking thirteen; nobody looked up. ";
    let body = words.repeat(22) + "\\n\\n\\\"So it goes.\\\" Gr\u{fc}\u{df}e";
    many("{\"articles\":[", "]}", bytes, |out, n| write!(out, "{{\"id\":{n},\"body\":\"{body}\"}}").unwrap())
}

/// Files in base64 of 64 KiB.
pub fn base64(bytes: usize) -> Vec<u8> {
    let file = "QmFzZTY0IGlzIG5vdCBlbmNyeXB0aW9uLCBpdCBpcyBhIHNwZWxsaW5n".repeat(1170);
    many("{\"files\":[", "]}", bytes, |out, n| write!(out, "{{\"id\":{n},\"data\":\"{file}\"}}").unwrap())
}

/// Outlines of countries: arrays of pairs of long numbers, as in `canada.json`.
pub fn numbers(bytes: usize) -> Vec<u8> {
    many("{\"type\":\"Polygon\",\"coordinates\":[[", "]]}", bytes, |out, n| {
        write!(out, "[-{}.{:015},{}.{:015}]", mixed(n) % 180, mixed(n) << 9, mixed(n + 1) % 90, mixed(n + 3) << 7)
            .unwrap();
    })
}

/// Made to hurt.
pub fn hostile(bytes: usize) -> Vec<Document> {
    let document = |name, bytes| Document { name, bytes };
    let deep = || {
        many("[", "]", bytes, |out, _| {
            out.push_str(&"[".repeat(500));
            out.push_str(&"]".repeat(500));
        })
    };
    vec![
        document("[],[],…", many("[", "]", bytes, |out, _| out.push_str("[]"))),
        document("{},{},…", many("[", "]", bytes, |out, _| out.push_str("{}"))),
        document("500 deep", deep()),
        document("1,1,1,…", many("[", "]", bytes, |out, _| out.push('1'))),
        document("{\"a\":1}", many("[", "]", bytes, |out, _| out.push_str("{\"a\":1}"))),
        document("{\"email\":\"\"}", many("[", "]", bytes, |out, _| out.push_str("{\"email\":\"\"}"))),
        document("\"\\n\\n\\n…\"", many("[", "]", bytes, |out, _| write!(out, "\"{}\"", "\\n".repeat(4000)).unwrap())),
        document(
            "\\u escapes",
            many("[", "]", bytes, |out, _| write!(out, "\"{}\"", "\\ud83d\\ude00".repeat(400)).unwrap()),
        ),
        document("escaped names", many("[", "]", bytes, |out, _| out.push_str("{\"\\u0065mai\":1}"))),
        document("1 1 1 blanks", many("[", "]", bytes, |out, _| out.push_str(" \n 1 \t "))),
        document("\"\",\"\",…", many("[", "]", bytes, |out, _| out.push_str("\"\""))),
    ]
}
