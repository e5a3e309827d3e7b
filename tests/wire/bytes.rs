//! Every byte value in every place where a reader may take a byte for something else.

use super::far::Says;
use super::rig::{Case, Gets, Reaches, Rig, json};

/// A case for each byte value in the place of each byte of `changed`, and one for each value put in before it.
fn every_byte(name: &str, before: &str, changed: &str, behind: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for place in 0..=changed.len() {
        for value in 0..=u8::MAX {
            for (how, kept) in [("for", 1), ("before", 0)] {
                let Some(rest) = changed.as_bytes().get(place + kept..) else { continue };
                let head = &changed.as_bytes()[..place];
                let sends = [before.as_bytes(), head, &[value], rest, behind.as_bytes()].concat();
                cases.push(Case {
                    name: format!("{name}: {value:#04x} {how} byte {place}"),
                    sends,
                    says: Says::Each(json(r#"{"open":"yes","secret":"<secret>"}"#)),
                    reaches: Reaches::OfThose,
                    gets: Gets::Sound,
                });
            }
        }
    }
    cases
}

const BODY: &str = "\r\n\r\n{\"n\":1}@end@";
const CHUNKS: &str = "\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n@end@";

#[test]
fn every_byte_in_a_content_length() {
    let rig = Rig::start(&[]);
    rig.run("bytes of `Content-Length`", &every_byte("length", "@post@", "Content-Length: 7", BODY));
}

#[test]
fn every_byte_in_a_transfer_encoding() {
    let rig = Rig::start(&[]);
    rig.run("bytes of `Transfer-Encoding`", &every_byte("coding", "@post@", "Transfer-Encoding: chunked", CHUNKS));
}

#[test]
fn every_byte_in_a_request_line() {
    let rig = Rig::start(&[]);
    let rest = "\r\n@auth@content-type: application/json\r\nContent-Length: 7\r\n\r\n{\"n\":1}@end@";
    rig.run("bytes of a request line", &every_byte("line", "", "POST /v1/items HTTP/1.1", rest));
}

#[test]
fn every_byte_in_a_field_and_between_fields() {
    let rig = Rig::start(&[]);
    let rest = "content-length: 7\r\n\r\n{\"n\":1}@end@";
    rig.run("bytes of a field", &every_byte("field", "@post@", "x-a: b c\r\n", rest));
}

#[test]
fn every_byte_in_the_framing_of_chunks() {
    let rig = Rig::start(&[]);
    let before = "@post@transfer-encoding: chunked\r\n\r\n";
    rig.run("bytes of a chunk", &every_byte("chunk", before, "07;x=y\r\n{\"n\":1}\r\n0\r\nt: u\r\n\r\n", "@end@"));
}
