//! What an event stream is: the same at every cut, every byte of it accounted for, and read as the plain way of the standard reads it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::frames::Fault;
use tidegate::frames::events::{Events, Field, Step};

const BLOCK_MAX: usize = 256;

/// The lines of each block, and the bytes of all of them.
type Read = (Vec<Vec<(Field, String)>>, Vec<u8>, Option<Fault>);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut events, mut blocks, mut bytes) = (Events::new(BLOCK_MAX), Vec::new(), Vec::new());
    for mut piece in pieces {
        loop {
            match events.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(Step::LineFeed)) => bytes.push(b'\n'),
                Ok(Some(Step::Block)) => {
                    for line in events.lines() {
                        bytes.extend([line.head, line.value, line.end].concat().into_bytes());
                    }
                    blocks.push(events.lines().map(|line| (line.field, line.value.to_owned())).collect());
                }
                Err(fault) => return (blocks, bytes, Some(fault)),
            }
        }
        assert!(piece.is_empty());
    }
    (blocks, bytes, None)
}

/// The data that a receiver gets (WHATWG HTML, section 9.2.6), the plain way.
fn plain(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut name, mut data, mut events) = (String::new(), String::new(), Vec::new());
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                events.push((name.clone(), data.clone()));
            }
            (name, data) = Default::default();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => data += &format!("{value}\n"),
            _ => {}
        }
    }
    events
}

fuzz_target!(|data: &[u8]| {
    let Some((body, pieces)) = tidegate::pieces(data) else { return };
    let (blocks, bytes, fault) = read(std::iter::once(body));
    assert_eq!((blocks.clone(), bytes.clone(), fault), read(pieces));
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    assert!(body.starts_with(&bytes));
    if fault.is_none() {
        // What stands behind the last block has no end, or is the LF that another chunk would have told of.
        assert!(body.len() - bytes.len() <= BLOCK_MAX);
    }
    let mut told = Vec::new();
    for block in &blocks {
        let (mut name, mut data) = (String::new(), String::new());
        for (field, value) in block {
            match field {
                Field::Event => value.clone_into(&mut name),
                Field::Data => data += &format!("{value}\n"),
                _ => {}
            }
        }
        if data.pop().is_some() {
            told.push((name, data));
        }
    }
    let read = std::str::from_utf8(&bytes).expect("what is told is UTF-8");
    assert_eq!(told, plain(read));
});
