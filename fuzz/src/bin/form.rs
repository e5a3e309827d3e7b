//! What is a form: the same at every cut, and what is taken is read as the plain way of the standard reads it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::frames::Fault;
use tidegate::frames::form::{Pairs, Step, encode};

/// Name and value, and how they were spelt.
type Read = Result<Vec<(String, String, Vec<u8>)>, Fault>;

const NAME_MAX: usize = 24;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut pairs, mut read) = (Pairs::new(NAME_MAX), Vec::new());
    let mut step = |pairs: &Pairs, step: Step| match step {
        Step::Name => read.push((pairs.text().to_owned(), String::new(), pairs.raw().to_vec())),
        Step::Value => {
            let (_, value, raw) = read.last_mut().expect("a value has a name");
            value.push_str(pairs.text());
            raw.extend_from_slice(pairs.raw());
        }
        Step::End => {}
    };
    for mut piece in pieces {
        while let Some(found) = pairs.next(&mut piece)? {
            step(&pairs, found);
        }
        assert!(piece.is_empty());
    }
    while let Some(found) = pairs.finish()? {
        step(&pairs, found);
    }
    Ok(read)
}

/// WHATWG URL, section 5.1, the plain way.
fn plain(bytes: &[u8]) -> String {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let [first, behind @ ..] = rest {
        rest = behind;
        let hex = behind.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(byte)) => (out, rest) = ([out.as_slice(), &[byte]].concat(), &behind[2..]),
            _ => out.push(*first),
        }
    }
    String::from_utf8(out).expect("what is taken is UTF-8")
}

fuzz_target!(|data: &[u8]| {
    let Some((body, pieces)) = tidegate::pieces(data) else { return };
    let whole = read(std::iter::once(body));
    assert_eq!(whole, read(pieces));
    match whole {
        Err(fault) => assert!(fault.offset <= body.len() as u64),
        Ok(pairs) => {
            let split = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
            let slow = split.map(|raw| {
                let at = raw.iter().position(|byte| *byte == b'=').unwrap_or(raw.len());
                (plain(&raw[..at]), plain(raw.get(at + 1..).unwrap_or_default()), raw.to_vec())
            });
            assert_eq!(pairs, slow.collect::<Vec<_>>());
            for (_, value, _) in &pairs {
                let mut spelt = Vec::new();
                encode(value, &mut spelt);
                assert_eq!(plain(&spelt), *value);
                assert!(read(std::iter::once(spelt.as_slice())).is_ok() || spelt.len() > NAME_MAX);
            }
        }
    }
});
