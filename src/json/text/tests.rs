use proptest::prelude::*;

use super::*;

#[test]
fn escapes_stand_for_what_rfc_8259_says() {
    let check = |raw: &str, expected: &str| assert_eq!(unescape(raw.as_bytes()), expected, "{raw}");
    check(r#""""#, "");
    check(r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t");
    check(r#""\u00e9\u20AC\ud83d\uDE00x""#, "é€😀x");
    assert!(matches!(unescape("\"é\"".as_bytes()), Cow::Borrowed("é")));
}

#[test]
fn bytes_that_no_scanner_passed_are_replaced_and_do_not_panic() {
    for raw in [
        &b""[..],
        b"\"",
        b"\"\\",
        b"\"\\\"",
        b"\"\\u\"",
        b"\"\\u12\"",
        b"\"\\ud800\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\udc00\"",
        b"\"\xff\"",
        b"\"\\x\"",
        b"\"\xff\\n\"",
    ] {
        let _ = unescape(raw);
    }
    assert_eq!(unescape(b"\"\\ud800\\u0041\""), "\u{fffd}A");
    assert_eq!(unescape(b"\"\xff\\n\""), "\u{fffd}\n");
}

#[test]
fn a_number_is_its_value_and_not_its_spelling() {
    let check =
        |raw: &str, expected: Option<&str>| assert_eq!(canonical_number(raw.as_bytes()).as_deref(), expected, "{raw}");
    for (spellings, expected) in [
        (&["1", "1.0", "1e0", "10e-1", "0.1E+1", "100e-2", "0.001e3"][..], "1e0"),
        (&["0", "-0", "0.0", "0e99999999999999999999", "-0.000e-5"], "0e0"),
        (&["-120", "-12e1", "-1.2e2", "-0.12e+0003"], "-12e1"),
        (&["12345678901234567890.10", "1234567890123456789010e-2"], "123456789012345678901e-1"),
        (&["1e400", "10e399", "0.1e401"], "1e400"),
        (&["1e2147483647", "10e2147483646", "0.1e2147483648"], "1e2147483647"),
    ] {
        spellings.iter().for_each(|raw| check(raw, Some(expected)));
    }
    for none in [
        "1e2147483648",
        "10e2147483647",
        "1e-2147483649",
        "1e99999999999999999999",
        "",
        "-",
        "+1",
        "01",
        "1.",
        ".1",
        "1e",
        "1e+",
        "1 ",
        " 1",
        "0x1",
        "NaN",
        "1.e1",
        "--1",
        "1e1.5",
        "1,0",
        "١",
    ] {
        check(none, None);
    }
}

#[test]
fn numbers_are_ordered_by_value() {
    let sorted =
        ["-1e400", "-10", "-9.99", "-0.1", "0", "1e-400", "0.1", "9.99", "10", "10.000000000000000000001", "1e400"];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            let order = Decimal::parse(a.as_bytes()).unwrap().cmp(&Decimal::parse(b.as_bytes()).unwrap());
            assert_eq!(order, i.cmp(&j), "{a} {b}");
        }
    }
}

#[test]
fn names_that_look_alike_by_case_width_or_blanks_fold_together() {
    for (a, b) in [
        ("e-mail", "E-Mail"),
        ("e-mail", "\u{feff}e\u{200b}-\u{ad}mail \u{3000}"),
        ("email", "ｅｍａｉｌ"),
        ("straße", "STRASSE"),
        ("office", "oﬃce"),
        ("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
        ("é", "e\u{301}"),
        ("iban", "İBAN"),
        ("iban", "\u{131}ban"),
        ("k", "\u{212a}"),
        ("a", "\0a\u{7f}"),
        ("name", "\u{202e}name\u{fe0f}\u{e0041}"),
        ("", "\u{3164}\u{2800}\t"),
    ] {
        assert_eq!(fold(a), fold(b), "{a:?} {b:?}");
    }
    assert_ne!(fold("first name"), fold("firstname"));
    assert!(matches!(fold("e-mail_2"), Cow::Borrowed("e-mail_2")));
    // All of Unicode but the wide plains of ideographs, syllables and private use, which have no case.
    for char in
        (0..0x3400).chain(0xa000..0xac00).chain(0xf900..0x2_0000).chain(0xe_0000..0xe_1100).filter_map(char::from_u32)
    {
        let once = fold(char.encode_utf8(&mut [0; 4])).into_owned();
        assert_eq!(fold(&once), once, "{char:?}");
    }
}

/// Another spelling of `digits * 10^exponent`.
fn spelling(negative: bool, digits: &str, exponent: i64, shift: usize, zeros: usize, form: u8) -> String {
    let padded = format!("{digits}{}", "0".repeat(zeros));
    let point = shift.min(padded.len() - 1);
    let (int, frac) = padded.split_at(padded.len() - point);
    let exponent = exponent - i64::try_from(zeros).unwrap() + i64::try_from(point).unwrap();
    let sign = if negative { "-" } else { "" };
    let frac = if frac.is_empty() { String::new() } else { format!(".{frac}") };
    match form {
        0 => format!("{sign}{int}{frac}e{exponent}"),
        1 if exponent >= 0 => format!("{sign}{int}{frac}E+00{exponent}"),
        2 if exponent == 0 => format!("{sign}{int}{frac}"),
        _ => format!("{sign}{int}{frac}E{exponent}"),
    }
}

proptest! {
    #[test]
    fn what_is_escaped_reads_as_it_was(text in any::<String>()) {
        let mut raw = Vec::new();
        escape(&text, &mut raw);
        prop_assert_eq!(unescape(&raw), text.as_str());
        prop_assert!(equals(&raw, &text));
        prop_assert_eq!(serde_json::from_slice::<String>(&raw).unwrap(), text);
    }

    #[test]
    fn any_mix_of_escapes_reads_as_serde_reads_it(units in prop::collection::vec((any::<char>(), 0..3_u8), 0..20), other in any::<String>()) {
        let (mut raw, mut text) = (String::from("\""), String::new());
        for (char, how) in units {
            text.push(char);
            match how {
                0 if char >= ' ' && char != '"' && char != '\\' => raw.push(char),
                how => char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| raw.push_str(&match how {
                    1 => format!("\\u{unit:04x}"),
                    _ => format!("\\u{unit:04X}"),
                })),
            }
        }
        raw.push('"');
        prop_assert_eq!(unescape(raw.as_bytes()), text.as_str());
        prop_assert!(equals(raw.as_bytes(), &text));
        prop_assert_eq!(equals(raw.as_bytes(), &other), text == other);
    }

    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..40), text in any::<String>()) {
        let _ = (unescape(&raw), canonical_number(&raw), equals(&raw, &text));
    }

    #[test]
    fn all_spellings_of_a_number_agree(
        negative in any::<bool>(), digits in "[1-9][0-9]{0,30}", exponent in -500..500_i64,
        shifts in (0..40_usize, 0..40_usize), zeros in (0..8_usize, 0..8_usize), forms in (0..3_u8, 0..3_u8),
    ) {
        let a = spelling(negative, &digits, exponent, shifts.0, zeros.0, forms.0);
        let b = spelling(negative, &digits, exponent, shifts.1, zeros.1, forms.1);
        let canonical = canonical_number(a.as_bytes());
        prop_assert!(canonical.is_some(), "{}", a);
        prop_assert_eq!(&canonical, &canonical_number(b.as_bytes()), "{} {}", a, b);
        let canonical = canonical.unwrap();
        prop_assert_eq!(canonical_number(canonical.as_bytes()), Some(canonical.clone()));
        prop_assert_eq!(Decimal::parse(a.as_bytes()), Decimal::parse(b.as_bytes()));
        let next = spelling(negative, &format!("{digits}1"), exponent - 1, shifts.1, zeros.1, forms.1);
        prop_assert_ne!(Some(canonical), canonical_number(next.as_bytes()));
    }

    #[test]
    fn integers_are_ordered_as_integers(a in any::<i32>(), b in any::<i32>(), scale in 0..5_u32) {
        let spelled = format!("{}{}e-{scale}", b, "0".repeat(scale as usize));
        let order = Decimal::parse(a.to_string().as_bytes()).unwrap().cmp(&Decimal::parse(spelled.as_bytes()).unwrap());
        prop_assert_eq!(order, a.cmp(&b));
    }

    #[test]
    fn folding_twice_changes_nothing(name in any::<String>()) {
        let once = fold(&name).into_owned();
        prop_assert_eq!(fold(&once), once.as_str());
        let padded = format!(" {name}\u{200d}\t");
        prop_assert_eq!(fold(&padded), once.as_str());
    }
}
