//! What parts are: the same at every cut, and what is taken is what lies between the delimiters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::frames::Fault;
use tidegate::frames::head::{Head, encode_name};
use tidegate::frames::parts::{Parts, Step};

type Read = Result<Vec<(Head, Vec<u8>)>, Fault>;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut parts, mut read) = (Parts::new("b"), Vec::new());
    for piece in pieces {
        parts.feed(piece);
        while let Some(step) = parts.advance()? {
            match step {
                Step::Head => read.push((parts.head().clone(), Vec::new())),
                Step::Content => read.last_mut().expect("content has a head").1.extend_from_slice(parts.content()),
                Step::End => {}
            }
        }
    }
    parts.finish()?;
    Ok(read)
}

/// The same, with everything in memory.
fn slow(body: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let body = [b"\r\n", body].concat();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let (mut rest, mut read) = (body.as_slice(), Vec::new());
    while let Some(behind) = rest.strip_prefix(b"\r\n--b\r\n") {
        let end = find(behind, b"\r\n\r\n").expect("a head has an end");
        let content = &behind[end + 4..];
        let length = find(content, b"\r\n--b").expect("a part has an end");
        read.push((Head::parse(&behind[..end]).expect("a head"), content[..length].to_vec()));
        rest = &content[length..];
    }
    assert!([b"\r\n--b--".as_slice(), b"\r\n--b--\r\n"].contains(&rest));
    read
}

fuzz_target!(|data: &[u8]| {
    let Some((body, pieces)) = tidegate::pieces(data) else { return };
    let whole = read(std::iter::once(body));
    assert_eq!(whole, read(pieces));
    match whole {
        Err(fault) => assert!(fault.offset <= body.len() as u64),
        Ok(parts) => {
            assert_eq!(parts, slow(body));
            for (head, _) in &parts {
                // What we write of a name is read as that name.
                let mut spelt = b"Content-Disposition: form-data; name=\"".to_vec();
                encode_name(&head.name, &mut spelt);
                spelt.push(b'"');
                assert_eq!(Head::parse(&spelt).map(|read| read.name).as_ref(), Ok(&head.name));
            }
        }
    }
});
