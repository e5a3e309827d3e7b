//! Spellings of one value made one, before it is tokenized or hashed: else a partner counts one person as two.
//!
//! What is done here is part of what a token is. It never changes under a number: a better way is a new one beside it (the kinds in
//! [`super::token`]), so that a join breaks by a change of the policy and never by a change of the program. Start at `normalize`.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::ids::Normalize;

/// Digits of a number in E.164, country code included.
const E164_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// The one spelling. `None`: not a value of this kind, or one that can be read in two ways.
pub(super) fn normalize(how: Normalize, text: &str) -> Option<Cow<'_, str>> {
    match how {
        Normalize::Nfc => Some(nfc(text)),
        Normalize::Email => email(text),
        Normalize::E164 => e164(text).map(Cow::Owned),
    }
}

/// Whether a text is of the kind that is normalised so.
#[must_use]
pub fn fits(how: Normalize, text: &str) -> bool {
    normalize(how, text).is_some()
}

fn nfc(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// The domain's case means nothing. That of the local part may by the standard (RFC 5321, section 2.4) and does at no provider worth the
/// name, while people write it as they please.
fn email(text: &str) -> Option<Cow<'_, str>> {
    let (local, domain) = text.rsplit_once('@')?;
    let blank = |c: char| c.is_whitespace() || c.is_control();
    if local.is_empty() || domain.is_empty() || text.contains(blank) {
        return None;
    }
    let plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if text.bytes().all(plain) {
        return Some(Cow::Borrowed(text));
    }
    // Lowering the case can undo the form, so that comes last.
    Some(Cow::Owned(text.nfc().collect::<String>().to_lowercase().nfc().collect()))
}

/// `+`, country code and number. Blanks and what people put between digits go; a number without `+` could be of any country, and
/// `(0)` may or may not be part of it.
fn e164(text: &str) -> Option<String> {
    let number = text.strip_prefix('+')?;
    let between = [' ', '\u{a0}', '\u{202f}', '-', '\u{2011}', '.', '/', '(', ')'];
    let digits: String = number.chars().filter(|c| !between.contains(c)).collect();
    let fits = E164_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (fits && !digits.starts_with('0') && !number.contains("(0")).then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(how: Normalize, text: &str) -> Option<String> {
        normalize(how, text).map(Cow::into_owned)
    }

    #[test]
    fn spellings_of_one_value_become_one() {
        for (how, wanted, spellings) in [
            (Normalize::Nfc, "Zoë Müller", &["Zoë Müller", "Zoe\u{308} Mu\u{308}ller"][..]),
            (Normalize::Email, "anna.kern@example.org", &["anna.kern@example.org", "Anna.Kern@EXAMPLE.org"]),
            (Normalize::Email, "zoë@exämple.org", &["ZOE\u{308}@Exämple.ORG", "zoë@EXA\u{308}MPLE.org"]),
            (Normalize::Email, "\"a b\"@x", &[]),
            (
                Normalize::E164,
                "+4915123456789",
                &["+4915123456789", "+49 151 23456789", "+49 (151) 234-567.89", "+49/151/23456789"],
            ),
        ] {
            for spelling in spellings {
                assert_eq!(said(how, spelling).as_deref(), Some(wanted), "{spelling}");
                assert_eq!(said(how, wanted).as_deref(), Some(wanted), "it is its own spelling");
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_guessed() {
        for text in [
            "0151 23456789",
            "0049 151 23456789",
            "151 23456789",
            "+49 (0)151 23456789",
            "+0151234567",
            "+",
            "+1234",
            "+1234567890123456",
            "+49 151 CALLME",
            "＋49 151 23456789",
            "+49 151 ２３４５６７８９",
            "",
            "++49151234567",
        ] {
            assert_eq!(said(Normalize::E164, text), None, "{text}");
        }
        for text in ["", "anna", "@", "anna@", "@example.org", "anna kern@example.org", "anna@example.org\n"] {
            assert_eq!(said(Normalize::Email, text), None, "{text}");
        }
        assert_eq!(said(Normalize::Nfc, "").as_deref(), Some(""));
    }

    proptest::proptest! {
        #[test]
        fn doing_it_twice_changes_nothing(text in ".{0,60}", address in "\\PC{1,30}@\\PC{1,30}", number in "\\+[0-9 ()./-]{0,30}") {
            for how in [Normalize::Nfc, Normalize::Email, Normalize::E164] {
                for text in [&text, &address, &number] {
                    if let Some(once) = said(how, text) {
                        proptest::prop_assert_eq!(said(how, &once), Some(once));
                    }
                }
            }
        }
    }
}
