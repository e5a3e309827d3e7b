//! How a text is wrapped: Base64 (RFC 4648), strictly read, and wrapped again as it was.
//!
//! Refused: white space and line ends, another alphabet, padding that is missing in part, bits behind the last byte that are not
//! zero. Nothing here is secret. Start at [`Coding::unwrap`].

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding};

use crate::json::patch::{self, Patch};

/// A wrapping that is undone before there is something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// With `+` and `/`.
    Base64,
    /// With `-` and `_`.
    Base64Url,
}

/// What was wrapped, and how.
#[derive(Debug)]
pub struct Unwrapped {
    encoding: Encoding,
    wrapped: Vec<u8>,
    /// The bytes inside.
    pub bytes: Vec<u8>,
}

impl Coding {
    /// Its name in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        }
    }

    /// Undoes it. `None` where the text is not in it.
    #[must_use]
    pub fn unwrap(self, text: &[u8]) -> Option<Unwrapped> {
        let (padded, bare) = match self {
            Self::Base64 => (BASE64, BASE64_NOPAD),
            Self::Base64Url => (BASE64URL, BASE64URL_NOPAD),
        };
        let pads = text.ends_with(b"=");
        let bytes = if pads { padded.decode(text) } else { bare.decode(text) }.ok()?;
        // Whole groups do not show whether there would be padding: then it is as is usual for the alphabet.
        let usual = text.len().is_multiple_of(4) && self == Self::Base64;
        let encoding = if pads || usual { padded } else { bare };
        // There is one spelling: the decoder would also take several texts one behind the other.
        let same = encoding.encode(&bytes).as_bytes() == text;
        same.then(|| Unwrapped { encoding, wrapped: text.to_vec(), bytes })
    }
}

impl Unwrapped {
    /// Patches of the bytes inside as patches of the text around them: one at most, from the first character that changes to the
    /// last. `None` where they do not fit.
    #[must_use]
    pub fn wrap(&self, patches: &[Patch]) -> Option<Vec<Patch>> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        patch::apply(&self.bytes, patches, &mut bytes)?;
        let (old, new) = (&self.wrapped, self.encoding.encode(&bytes).into_bytes());
        let alike = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(a, b)| a == b).count();
        let start = alike(&mut old.iter().zip(&new));
        let (old_rest, new_rest) = (old.get(start..)?, new.get(start..)?);
        let behind = alike(&mut old_rest.iter().rev().zip(new_rest.iter().rev()));
        let put = new_rest.get(..new_rest.len() - behind)?.to_vec();
        let range = start..old.len() - behind;
        Some(if range.is_empty() && put.is_empty() { Vec::new() } else { vec![Patch { range, put }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(coding: Coding, wrapped: &str, find: &str, put: &str, expected: &str) {
        let unwrapped = coding.unwrap(wrapped.as_bytes()).unwrap();
        let inside = std::str::from_utf8(&unwrapped.bytes).unwrap();
        let start = inside.find(find).unwrap();
        let patches = [Patch { range: start..start + find.len(), put: put.into() }];
        let mut out = Vec::new();
        patch::apply(wrapped.as_bytes(), &unwrapped.wrap(&patches).unwrap(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn it_is_wrapped_as_it_was() {
        use Coding::{Base64, Base64Url};
        check(Base64, "YWJj", "c", "cd", "YWJjZA==");
        check(Base64Url, "YWJj", "c", "cd", "YWJjZA");
        check(Base64, "YWJjZA", "d", "de", "YWJjZGU");
        check(Base64Url, "YWJjZA==", "d", "de", "YWJjZGU=");
        check(Base64, "YWJjZA==", "d", "", "YWJj");
        check(Base64, "Pz8/Pj4+", "?", "~", "fj8/Pj4+");
        check(Base64Url, "Pz8_Pj4-", "?", "~", "fj8_Pj4-");
        check(Base64, "YWJj", "", "", "YWJj");
    }

    #[test]
    fn one_patch_covers_only_what_changes() {
        let unwrapped = Coding::Base64.unwrap(b"YWJjYWJjYWJj").unwrap();
        let patches = unwrapped.wrap(&[Patch { range: 4..5, put: b"x".to_vec() }]).unwrap();
        assert_eq!(patches, [Patch { range: 5..7, put: b"Xh".to_vec() }]);
        assert_eq!(unwrapped.wrap(&[Patch { range: 0..10, put: Vec::new() }]), None);
    }

    #[test]
    fn what_is_not_strictly_in_the_coding_is_refused() {
        for text in ["YQ=", "YQ===", "Y", "YR==", "YR", "YWJj\n", " YWJj", "YW=j", "====", "Pz8_", "YQ==YQ=="] {
            assert!(Coding::Base64.unwrap(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Coding::Base64Url.unwrap(b"Pz8/").is_none());
        assert!(Coding::Base64.unwrap(b"").is_some_and(|unwrapped| unwrapped.bytes.is_empty()));
    }
}
