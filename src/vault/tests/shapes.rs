//! Tokens that look like what they stand for: what stays of a value, what does not, and that all of them come back.

use proptest::prelude::*;

use super::*;

/// A value of every shape that does not say what it is, written as people write them.
const SAMPLES: &[(Shape, &[&str])] = &[
    (Shape::Digits, &["123456", "0151234567890"]),
    (Shape::Alnum, &["KD1234567", "kd1234567", "aB3x", "0000", "ZZZZ", "zzzz", "Zz0z"]),
    (Shape::Card, &["4111111111111111", "4111 1111 1111 1111", "3782-822463-10005", "6011000990139424"]),
    (
        Shape::Iban,
        &[
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "GB82WEST12345698765432",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
            "FR1420041010050500013M02606",
        ],
    ),
    (Shape::Date, &["1984-02-29", "2026-11-24T10:45:27Z", "2026-11-24 10:45:27.123+01:00", "0011-01-01"]),
];

impl House {
    fn shaped(&self, domain_name: &str, category_name: &str, shape: Shape) -> (Sealer, Opener) {
        let opener = self.vault.opener(&domain(domain_name), &category(category_name), Some(shape)).unwrap();
        (self.sealer(domain_name, category_name, shape), opener)
    }
}

/// As ISO 7064, MOD 97-10 is usually written: head to the end, letters to numbers, all as one number.
fn passes_97(iban: &str) -> bool {
    let iban: String = iban.chars().filter(|c| *c != ' ').collect();
    let turned = format!("{}{}", &iban[4..], &iban[..4]);
    let numbers: String = turned.chars().map(|c| c.to_digit(36).unwrap().to_string()).collect();
    numbers.bytes().fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97) == 1
}

/// What each character is, which is what a validator looks at.
fn form(text: &str) -> String {
    let kind = |c: char| match c {
        '0'..='9' => '9',
        other => other,
    };
    text.chars().map(kind).collect()
}

#[test]
fn every_shape_comes_back_and_differs_by_partner_category_and_value() {
    let house = house();
    for (shape, values) in SAMPLES {
        let (sealer, opener) = house.shaped("parcelo", "thing", *shape);
        let mut seen = HashSet::new();
        for value in *values {
            let token = token(&sealer, value);
            assert_eq!(token.chars().count(), value.chars().count(), "{value}");
            assert_eq!(open(&opener, &token), (Opened::Text, (*value).to_owned()), "{token}");
            assert_ne!(token, *value);
            seen.insert(token);
        }
        if *shape != Shape::Date {
            for (domain, category) in [("adnet", "thing"), ("parcelo", "other")] {
                let (sealer, _) = house.shaped(domain, category, *shape);
                seen.extend(values.iter().map(|value| token(&sealer, value)));
            }
            assert_eq!(seen.len(), 3 * values.len(), "{shape:?}");
        }
    }
}

#[test]
fn these_shapes_are_turned_back_only_where_the_reveal_names_them() {
    let house = house();
    for (shape, values) in SAMPLES {
        let (sealer, _) = house.shaped("parcelo", "thing", *shape);
        for value in *values {
            let token = token(&sealer, value);
            assert_eq!(open(&house.opener("parcelo", "thing"), &token), nothing(Opened::Plain), "{token}");
        }
    }
}

#[test]
fn letters_keep_their_case() {
    let (sealer, _) = house().shaped("parcelo", "thing", Shape::Alnum);
    for n in 0..300 {
        let capitals = token(&sealer, &format!("KD{n:04}"));
        let small = token(&sealer, &format!("kd{n:04}"));
        let both = token(&sealer, &format!("Kd{n:04}"));
        assert!(capitals.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{capitals}");
        assert!(small.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{small}");
        assert!(small.bytes().any(|b| b.is_ascii_lowercase()), "{small}");
        let has = |found: fn(&u8) -> bool| both.as_bytes().iter().any(found);
        assert!(has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase), "{both}");
    }
}

#[test]
fn what_has_not_the_form_has_no_token_and_is_none() {
    let house = house();
    for (shape, values) in [
        (Shape::Alnum, &["", "abc", "A-1234", "äbcd", "1234 ", "tk1_abcd", &"a".repeat(65)][..]),
        (
            Shape::Card,
            &["", "4111111111111112", "411111111111", "41111111111111111111", "4111.1111.1111.1111", "card", "123456"],
        ),
        (
            Shape::Iban,
            &[
                "",
                "DE88370400440532013000",
                "de89370400440532013000",
                "DE89-3704-0044-0532-0130-00",
                "DE8937040044",
                "XX00",
                "DE00370400440532013000",
            ],
        ),
        (
            Shape::Date,
            &[
                "",
                "1984-02-30",
                "1983-02-29",
                "84-02-29",
                "1984/02/29",
                "29.02.1984",
                "1984-02-29Anna",
                "1984-02-29T",
                "1984-02-29T10:00 Anna",
                "+984-02-29",
                "1984-02-29T٣",
                "0000-01-01",
            ],
        ),
    ] {
        let (sealer, opener) = house.shaped("parcelo", "thing", shape);
        for value in values {
            assert_eq!(issue(&sealer, Value::Text(value)), (Issued::Unfit, String::new()), "{value}");
            let is_date_or_token = matches!(open(&opener, value).0, Opened::Text);
            // A card or an IBAN whose check is wrong may be a token; anything else is none.
            assert!(!is_date_or_token || matches!(shape, Shape::Card | Shape::Iban), "{value}");
        }
        assert_eq!(issue(&sealer, Value::Number("1e20")), (Issued::Unfit, String::new()));
        assert!(!shaped::fits(shape, values[1]), "{}", values[1]);
    }
}

#[test]
fn a_token_of_a_card_fails_its_check_and_a_card_is_no_token() {
    let (sealer, opener) = house().shaped("parcelo", "card", Shape::Card);
    for n in 0..300u64 {
        let card =
            (0..10).map(|last| format!("{}{last}", 411_111_111_111_111 + n * 7_919)).find(|card| passes_luhn(card));
        let card = card.unwrap();
        let token = token(&sealer, &card);
        assert!(token.len() == 16 && !passes_luhn(&token), "{token}");
        assert_eq!(open(&opener, &card), nothing(Opened::Plain), "a true card is no token");
        assert_eq!(issue(&sealer, Value::Text(&token)).0, Issued::Unfit, "and a token no card");
    }
    // As a number it stays one.
    let (issued, token) = issue(&sealer, Value::Number("4111111111111111e0"));
    assert_eq!((issued, token.len(), token.starts_with('0')), (Issued::Token, 16, false));
}

#[test]
fn a_token_of_an_iban_keeps_country_and_form_and_fails_its_check() {
    let (sealer, opener) = house().shaped("parcelo", "iban", Shape::Iban);
    for account in 0..300u64 {
        let account = format!("{:018}", account * 999_999_937);
        let iban = (2..99).map(|check| format!("DE{check:02}{account}")).find(|iban| passes_97(iban)).unwrap();
        let token = token(&sealer, &iban);
        assert_eq!(form(&token), form(&iban));
        assert!(!passes_97(&token), "{token}");
        assert_eq!(open(&opener, &token), (Opened::Text, iban.clone()));
        assert_eq!(open(&opener, &iban), nothing(Opened::Plain), "a true IBAN is no token");
        assert_eq!(issue(&sealer, Value::Text(&token)).0, Issued::Unfit, "and a token no IBAN");
    }
    let british = token(&sealer, "GB82 WEST 1234 5698 7654 32");
    assert!(british.starts_with("GB") && british.len() == 27 && british.as_bytes()[4] == b' ', "{british}");
}

#[test]
fn dates_move_by_as_many_days_and_keep_their_intervals() {
    let house = house();
    let (sealer, _) = house.shaped("parcelo", "birth", Shape::Date);
    let day = |text: &str| text.parse::<jiff::civil::Date>().unwrap();
    let shift = |from: &str| day(from).until(day(&token(&sealer, from))).unwrap().get_days();
    let days = shift("2000-01-01");
    assert!((1..=3652).contains(&days.abs()), "{days}");
    for date in ["1931-12-31", "1984-02-29", "2026-11-24", "2100-03-01"] {
        assert_eq!(shift(date), days, "{date}");
    }
    let moved = token(&sealer, "2026-11-24T10:45:27.5+01:00");
    assert!(moved.ends_with("T10:45:27.5+01:00"), "{moved}");
    let shifts: HashSet<_> =
        (0..40).map(|n| token(&house.shaped("parcelo", &format!("birth-{n}"), Shape::Date).0, "2000-01-01")).collect();
    assert!(shifts.len() > 30, "each category has a distance of its own");
}

#[test]
fn spellings_that_are_made_one_have_one_token_which_comes_back_in_that_spelling() {
    let house = house();
    for (how, shape, wanted, spellings) in [
        (Normalize::Email, Shape::Email, "anna@example.org", ["Anna@Example.org", "anna@EXAMPLE.ORG"]),
        (Normalize::E164, Shape::Opaque, "+4915123456789", ["+49 151 234 567 89", "+49-151/23456789"]),
        (Normalize::Nfc, Shape::Opaque, "Zoë", ["Zoë", "Zoe\u{308}"]),
    ] {
        let plain = house.sealer("parcelo", "thing", shape);
        let sealer = plain.clone().normalizing(Some(how));
        let first = token(&sealer, wanted);
        for spelling in spellings {
            assert_eq!(token(&sealer, spelling), first, "{spelling}");
        }
        assert_eq!(open(&house.opener("parcelo", "thing"), &first), (Opened::Text, wanted.to_owned()));
        // How it is done is part of the token, so that a better way does not pass for this one.
        assert_ne!(token(&plain, wanted), first);
        assert_eq!(issue(&sealer, Value::Text(&first)).0, Issued::Already);
        assert_eq!(issue(&sealer, Value::Text(&first.to_uppercase())).0, Issued::Already);

        let plain = house.vault.pseudonymizer(&domain("parcelo"), None).unwrap();
        let pseudonymizer = plain.clone().normalizing(Some(how));
        let first = hash(&pseudonymizer, Value::Text(wanted));
        assert!(spellings.iter().all(|spelling| hash(&pseudonymizer, Value::Text(spelling)) == first));
        assert_ne!(hash(&plain, Value::Text(wanted)), first);
    }
}

#[test]
fn what_cannot_be_normalised_has_no_token() {
    let house = house();
    let mut out = Vec::new();
    for (how, value) in [
        (Normalize::E164, Value::Text("0151 23456789")),
        (Normalize::E164, Value::Number("4915123456789e0")),
        (Normalize::Email, Value::Text("Anna Kern")),
        (Normalize::Email, Value::Number("1e0")),
    ] {
        let sealer = house.sealer("parcelo", "thing", Shape::Opaque).normalizing(Some(how));
        assert_eq!(issue(&sealer, value), (Issued::Unfit, String::new()));
        let pseudonymizer = house.vault.pseudonymizer(&domain("parcelo"), None).unwrap().normalizing(Some(how));
        assert!(!pseudonymizer.hash(value, &mut out) && out.is_empty());
    }
    let sealer = house.sealer("parcelo", "thing", Shape::Opaque);
    let number = issue(&sealer, Value::Number("1e0"));
    assert_eq!(issue(&sealer.clone().normalizing(Some(Normalize::Nfc)), Value::Number("1e0")), number);
}

/// Nothing, or a time as in RFC 3339.
const TIME: &str =
    "(|[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,9})?)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn letters_and_digits_come_back(text in "[0-9A-Z]{4,64}|[0-9a-z]{4,64}|[0-9A-Za-z]{4,64}") {
        let (sealer, opener) = house().shaped("parcelo", "thing", Shape::Alnum);
        let token = token(&sealer, &text);
        prop_assert_eq!(token.len(), text.len());
        prop_assert_eq!(open(&opener, &token), (Opened::Text, text));
    }

    #[test]
    fn every_iban_comes_back(country in "[A-Z]{2}", account in "[0-9]{11,30}|[0-9A-Z]{11,30}") {
        let (sealer, opener) = house().shaped("parcelo", "thing", Shape::Iban);
        let iban = (2..99).map(|check| format!("{country}{check:02}{account}")).find(|iban| passes_97(iban)).unwrap();
        let token = token(&sealer, &iban);
        prop_assert!(!passes_97(&token));
        prop_assert_eq!(&token[..2], country);
        prop_assert_eq!(open(&opener, &token), (Opened::Text, iban));
    }

    #[test]
    fn every_date_comes_back(year in 12i16..9988, month in 1i8..=12, day in 1i8..=28, time in TIME) {
        let (sealer, opener) = house().shaped("parcelo", "thing", Shape::Date);
        let date = format!("{year:04}-{month:02}-{day:02}{time}");
        prop_assert_eq!(open(&opener, &token(&sealer, &date)), (Opened::Text, date));
    }

    #[test]
    fn no_text_makes_a_shape_panic(text in "\\PC{0,70}|[A-Z]{2}[0-9]{2}[0-9A-Z ]{0,40}|[0-9 -]{0,30}|[0-9-]{8,12}T?[0-9:]{0,9}") {
        let house = house();
        for (shape, _) in SAMPLES {
            let (sealer, opener) = house.shaped("parcelo", "thing", *shape);
            let (issued, token) = issue(&sealer, Value::Text(&text));
            prop_assert_eq!(issued == Issued::Token, shaped::fits(*shape, &text));
            if issued == Issued::Token {
                prop_assert_eq!(open(&opener, &token), (Opened::Text, text.clone()));
            }
            open(&opener, &text);
        }
    }
}
