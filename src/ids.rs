//! Names and identities that every layer uses.
//!
//! Not here: anything with behaviour beyond parsing and printing itself. Start at [`ExchangeId`].

use std::fmt;
use std::sync::Arc;

/// One exchange: a request and its response. Prints as 26 characters of Crockford base32, time first (48 bits of
/// milliseconds since 1970, 80 random bits), so that identities sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(u128);

impl ExchangeId {
    /// Length of the printed form, in bytes.
    pub const LEN: usize = 26;

    /// Puts an identity together from `millis` since 1970 (48 bits are used) and `random` (80 bits are used).
    #[must_use]
    pub fn new(millis: u64, random: u128) -> Self {
        let time = u128::from(millis & 0xFFFF_FFFF_FFFF) << 80;
        Self(time | (random & ((1 << 80) - 1)))
    }

    /// The printed form, without an allocation.
    #[must_use]
    pub fn to_ascii(self) -> [u8; Self::LEN] {
        const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut out = [b'0'; Self::LEN];
        let mut rest = self.0;
        for slot in out.iter_mut().rev() {
            let digit = (rest & 31) as usize;
            *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
            rest >>= 5;
        }
        out
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ascii = self.to_ascii();
        f.write_str(std::str::from_utf8(&ascii).unwrap_or_default())
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Longest name, in bytes.
            pub const MAX: usize = 128;

            /// Accepts 1 to [`Self::MAX`] bytes of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
                let first = text.bytes().next()?;
                (text.len() <= Self::MAX
                    && (first.is_ascii_lowercase() || first.is_ascii_digit())
                    && text.bytes().all(ok))
                .then(|| Self(text.into()))
            }

            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// The organisation on the far side (`partner.id` of a policy file).
    PartnerId
);
name!(
    /// An upstream of `tidegate.toml`.
    UpstreamId
);
name!(
    /// What kind of data a value is (`is = "contact.email"`), as far as the policies name kinds.
    Category
);
name!(
    /// A domain of tokens: a partner's own, or one that two partners share by a `domain` file.
    DomainId
);

/// A rule's identity in records and messages: its place among its leg's rules in a form that a person can find again,
/// such as `customer.email` or `keep-2`. Unique within its leg.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(Arc<str>);

impl RuleId {
    /// Wraps a text that was checked by the policy reader.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The identity as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// How a token looks (`as` in a policy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `tk1_…`
    #[default]
    Opaque,
    /// `…@token.invalid`
    Email,
    /// As many digits (FF1, NIST SP 800-38G): unauthenticated.
    Digits,
    /// A UUID of version 8: only where it is stored.
    Uuid,
    /// As many letters and digits (FF1): unauthenticated.
    Alnum,
    /// A card number that fails its check (FF1): unauthenticated.
    Card,
    /// An IBAN that fails its check (FF1): unauthenticated.
    Iban,
    /// A date moved by days: unauthenticated and weak.
    Date,
}

impl Shape {
    /// Its name in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Email => "email",
            Self::Digits => "digits",
            Self::Alnum => "alnum",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Date => "date",
            Self::Uuid => "uuid",
        }
    }

    /// Whether its tokens say what they are, and prove it.
    #[must_use]
    pub fn is_authentic(self) -> bool {
        matches!(self, Self::Opaque | Self::Email | Self::Uuid)
    }

    /// Whether its tokens are digits, so that a number can stay one.
    #[must_use]
    pub fn is_digits(self) -> bool {
        matches!(self, Self::Digits | Self::Card)
    }
}

/// What is done to a value before it is tokenized or hashed, so that its spellings become one (`normalize` in a policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normalize {
    /// Unicode's composed form.
    Nfc,
    /// An e-mail address in small letters.
    Email,
    /// A telephone number with country code, without what stands between the digits.
    E164,
}

impl Normalize {
    /// All, by their names in a policy.
    pub const ALL: &[(&str, Self)] = &[("nfc", Self::Nfc), ("email", Self::Email), ("e164", Self::E164)];

    /// Its name in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nfc => "nfc",
            Self::Email => "email",
            Self::E164 => "e164",
        }
    }
}

/// Who calls whom on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The partner calls us.
    Inbound,
    /// We call the partner.
    Outbound,
}

/// One half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The request, from whoever calls.
    Request,
    /// The response to it.
    Response,
}

impl Leg {
    /// The leg that leaves to the partner.
    #[must_use]
    pub fn disclosing(direction: Direction) -> Self {
        match direction {
            Direction::Inbound => Self::Response,
            Direction::Outbound => Self::Request,
        }
    }

    /// Whether this leg leaves to the partner; the other one receives.
    #[must_use]
    pub fn discloses(self, direction: Direction) -> bool {
        self == Self::disclosing(direction)
    }

    /// The word for this leg in policies, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

impl Direction {
    /// The word for this direction in policies, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_ids_print_as_26_characters_that_sort_by_time() {
        let (early, late) = (ExchangeId::new(1, u128::MAX), ExchangeId::new(2, 0));
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().len(), ExchangeId::LEN);
        assert_eq!(ExchangeId::new(0, 0).to_string(), "00000000000000000000000000");
    }

    #[test]
    fn names_are_lower_case_and_bounded() {
        assert!(PartnerId::parse("parcelo-2.de").is_some());
        for wrong in ["", "-a", "A", "a b", "é", &"a".repeat(129)] {
            assert!(PartnerId::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
