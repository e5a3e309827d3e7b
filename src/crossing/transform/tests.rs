//! Masks and generalizations: what fits, what does not, and that nothing shows more than it may.

use jiff::civil::date as day;
use proptest::prelude::*;

use super::*;

fn masked(text: &str, keep_first: usize, keep_last: usize, same_length: bool) -> String {
    let mut out = String::from(">");
    Masker(Mask { keep_first, keep_last, same_length }).mask(text, &mut out);
    out.strip_prefix('>').unwrap().to_owned()
}

/// `None`: unfit.
fn check(to: Generalize, text: &str) -> Option<String> {
    let mut out = String::from(">");
    let result = Generalizer(to).generalize(text, day(2026, 3, 1), &mut out);
    let out = out.strip_prefix('>').unwrap().to_owned();
    match (result, to) {
        (Generalized::Unfit, _) => {
            assert_eq!(out, "", "nothing is appended for {text}");
            return None;
        }
        (Generalized::Number, Generalize::Bucket(_) | Generalize::Geo(_)) => {
            assert!(serde_json::from_str::<serde_json::Number>(&out).is_ok(), "{out}");
        }
        (Generalized::Text, Generalize::Bucket(_) | Generalize::Geo(_)) | (Generalized::Number, _) => panic!("{to:?}"),
        (Generalized::Text, _) => {}
    }
    Some(out)
}

fn all(to: Generalize, cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(check(to, text).as_deref(), Some(*wanted), "{to:?} of {text}");
    }
}

fn none(to: Generalize, texts: &[&str]) {
    for text in texts {
        assert_eq!(check(to, text), None, "{to:?} of {text}");
    }
}

#[test]
fn what_a_mask_made_is_known_again() {
    for keep_first in 0..3 {
        for keep_last in 0..4 {
            for same_length in [false, true] {
                let masker = Masker(Mask { keep_first, keep_last, same_length });
                for value in ["a", "ab", "+4740612345", "Zoë Ñandú", "👩‍👩‍👧‍👦 family", "anna@example.org"]
                {
                    let mut masked = String::new();
                    masker.mask(value, &mut masked);
                    assert!(masker.made(&masked), "{masked}");
                    assert!(!masker.made(value), "{value}");
                }
                assert!(!masker.made(""));
            }
        }
    }
}

#[test]
fn a_mask_hides_the_length() {
    assert_eq!(masked("+49 151 2345678", 0, 4, false), "******5678");
    assert_eq!(masked("DE89370400440532013000", 4, 2, false), "DE89******00");
    assert_eq!(masked("anything", 0, 0, false), "******");
    assert_eq!(masked("", 0, 0, false), "******");
}

#[test]
fn a_mask_of_the_same_length_has_as_many_stars_as_were_masked() {
    assert_eq!(masked("12345678", 1, 2, true), "1*****78");
    assert_eq!(masked("1234", 2, 2, true), "****");
    assert_eq!(masked("", 0, 0, true), "");
    assert_eq!(masked("añ🏳️‍🌈z", 0, 0, true), "****");
}

#[test]
fn where_more_than_half_would_stay_all_is_masked() {
    assert_eq!(masked("12345678", 0, 4, false), "******5678");
    assert_eq!(masked("1234567", 0, 4, false), "******");
    assert_eq!(masked("1234567", 4, 0, false), "******");
    assert_eq!(masked("12345678", 3, 2, false), "******");
    assert_eq!(masked("12", usize::MAX, usize::MAX, false), "******");
    assert_eq!(masked("12", usize::MAX, 1, true), "**");
}

#[test]
fn a_mask_counts_what_a_person_sees_as_one_character() {
    // A flag, a family and an accent that is a character of its own.
    assert_eq!(masked("🇩🇪abcdef", 1, 0, false), "🇩🇪******");
    assert_eq!(masked("abcdef👨‍👩‍👧", 0, 1, false), "******👨‍👩‍👧");
    assert_eq!(masked("abcde\u{301}", 0, 1, false), "******e\u{301}");
    assert_eq!(masked("🇩🇪", 1, 0, false), "******");
}

#[test]
fn year_and_month_come_from_dates_and_date_times() {
    for text in [
        "1984-05-06",
        "1984-05-06T10:20:30Z",
        "1984-05-06t10:20:30.125+02:00",
        "1984-05-06 23:59:60",
        "1984-05-06T00:00:00-11:30",
    ] {
        assert_eq!(check(Generalize::Year, text).as_deref(), Some("1984"));
        assert_eq!(check(Generalize::Month, text).as_deref(), Some("1984-05"));
    }
    for to in [Generalize::Year, Generalize::Month] {
        none(
            to,
            &[
                "",
                "1984",
                "1984-05",
                "1984-5-6",
                "84-05-06",
                "06.05.1984",
                "05/06/1984",
                "1984-13-01",
                "1984-02-30",
                "1983-02-29",
                "1984-05-06T",
                "1984-05-06T10",
                "1984-05-06T10:20",
                "1984-05-06T24:00:00Z",
                "1984-05-06T10:20:61Z",
                "1984-05-06T10:20:30.Z",
                "1984-05-06T10:20:30+02",
                "1984-05-06T10:20:30 Z",
                "1984-05-06Z",
                " 1984-05-06",
                "1984-05-06 ",
                "1984-05-06x10:20:30Z",
                "-984-05-06",
                "１984-05-06",
                "1984-05-0é",
                "1984-05-06T10:20:30.5+0200",
                "19840506",
            ],
        );
    }
}

#[test]
fn ages_and_dates_of_birth_fall_into_bands() {
    all(
        Generalize::AgeBand(10),
        &[
            ("34", "30-39"),
            ("0", "0-9"),
            ("3e1", "30-39"),
            ("34.0", "30-39"),
            ("150", "150-159"),
            ("1984-05-06", "40-49"),
        ],
    );
    all(Generalize::AgeBand(5), &[("34", "30-34"), ("1996-03-01T00:00:00Z", "30-34"), ("1996-03-02", "25-29")]);
    all(Generalize::AgeBand(1), &[("34", "34"), ("2008-02-29", "18"), ("2026-03-01", "0")]);
    none(
        Generalize::AgeBand(10),
        &["", "34.5", "-1", "151", "1e9", "2026-03-02", "2999-01-01", "1800-01-01", "thirty", "034"],
    );
    none(Generalize::AgeBand(0), &["34"]);
}

#[test]
fn one_born_on_a_leap_day_is_older_on_the_first_of_march() {
    let at = |today| {
        let mut out = String::new();
        Generalizer(Generalize::AgeBand(1)).generalize("2008-02-29", today, &mut out);
        out
    };
    assert_eq!(
        (at(day(2026, 2, 28)), at(day(2026, 3, 1)), at(day(2028, 2, 29))),
        ("17".into(), "18".into(), "20".into())
    );
}

#[test]
fn a_prefix_is_of_what_is_longer_than_it() {
    all(Generalize::Prefix(3), &[("10115", "101"), ("SW1A 1AA", "SW1"), ("e\u{301}abc", "e\u{301}ab")]);
    none(Generalize::Prefix(3), &["", "12", "123", "🇩🇪🇩🇪🇩🇪"]);
    none(Generalize::Prefix(0), &["123"]);
}

#[test]
fn addresses_become_networks() {
    all(
        Generalize::IpNet,
        &[
            ("203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2002:cb00:714d::1", "2002:cb00:7100::/40"),
            ("::1", "::/48"),
        ],
    );
    none(
        Generalize::IpNet,
        &[
            "",
            "203.0.113",
            "203.0.113.077",
            "203.0.113.256",
            "203.0.113.7:80",
            "[::1]",
            "fe80::1%eth0",
            "203.0.113.7 ",
            "0xcb007107",
            "host",
        ],
    );
}

#[test]
fn a_bucket_is_named_by_its_lower_end() {
    all(
        Generalize::Bucket(100),
        &[
            ("0", "0"),
            ("99", "0"),
            ("100", "100"),
            ("1234.99", "1200"),
            ("-1", "-100"),
            ("-100", "-100"),
            ("-100.01", "-200"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("-0.5", "-100"),
            ("1e3", "1000"),
            ("12345E-2", "100"),
            ("1e-400", "0"),
            ("-1e-400", "-100"),
            ("0e999999", "0"),
            ("123456789012345678901234567890123456", "123456789012345678901234567890123400"),
            ("0.000000001e11", "100"),
        ],
    );
    none(
        Generalize::Bucket(100),
        &[
            "",
            "-",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "0x10",
            "NaN",
            "1 ",
            "1,000",
            "1e36",
            "1e400",
            "1e99999999999",
            "1234567890123456789012345678901234567",
        ],
    );
    none(Generalize::Bucket(0), &["5"]);
    all(Generalize::Bucket(u64::MAX), &[("5", "0"), ("-5", "-18446744073709551615")]);
}

#[test]
fn coordinates_move_to_a_grid() {
    all(
        Generalize::Geo(1_000),
        &[
            ("52.520008", "52.524"),
            ("13.404954", "13.401"),
            ("-0.001", "0"),
            ("-33.8688", "-33.867"),
            ("5.25e1", "52.497"),
            ("0", "0"),
        ],
    );
    all(Generalize::Geo(100), &[("52.520008", "52.5204"), ("-52.520008", "-52.5204")]);
    all(
        Generalize::Geo(10_000),
        &[("52.520008", "52.56"), ("90", "90"), ("-90", "-90"), ("180.0", "180"), ("-180", "-180")],
    );
    all(Generalize::Geo(70_000), &[("89.99", "89.46"), ("-89.99", "-89.46"), ("179.999", "179.55")]);
    none(Generalize::Geo(1_000), &["", "180.000001", "-181", "52,5", "52° 31′", "N52.5", "52.5,13.4", "1e99"]);
    none(Generalize::Geo(0), &["52.5"]);
    none(Generalize::Geo(u32::MAX), &["52.5"]);
}

proptest! {
    #[test]
    fn a_mask_never_shows_more_than_half(text in ".{0,40}", first in 0usize..30, last in 0usize..30, same in any::<bool>()) {
        let out = masked(&text, first, last, same);
        let count = text.graphemes(true).count();
        let stars = if same { count.saturating_sub(if (first + last) * 2 > count { 0 } else { first + last }) } else { RUN };
        prop_assert!(out.contains(&"*".repeat(stars)));
        if (first + last) * 2 > count {
            prop_assert_eq!(out, "*".repeat(stars));
        } else {
            let kept: String = text.graphemes(true).take(first).chain(std::iter::repeat_n("*", stars)).chain(text.graphemes(true).skip(count - last)).collect();
            prop_assert_eq!(out, kept);
        }
    }

    #[test]
    fn no_text_makes_a_generalizer_stop(text in ".{0,40}", number in "-?[0-9]{1,40}(\\.[0-9]{0,8})?([eE][+-]?[0-9]{0,12})?", width in any::<u32>()) {
        for to in [
            Generalize::Year, Generalize::Month, Generalize::AgeBand(width), Generalize::Prefix(width as usize % 50), Generalize::IpNet,
            Generalize::Bucket(u64::from(width)), Generalize::Geo(width),
        ] {
            check(to, &text);
            check(to, &number);
        }
    }

    #[test]
    fn a_bucket_holds_its_number(number in any::<i64>(), width in 1u64..1_000_000) {
        let low: i128 = check(Generalize::Bucket(width), &number.to_string()).unwrap().parse().unwrap();
        prop_assert!(low <= i128::from(number) && i128::from(number) < low + i128::from(width));
        prop_assert_eq!(low.rem_euclid(i128::from(width)), 0);
    }

    #[test]
    fn a_coordinate_moves_by_half_a_cell_at_most(micro in -180_000_000i32..=180_000_000, metres in 1u32..100_000) {
        let degrees = f64::from(micro) / 1e6;
        let moved: f64 = check(Generalize::Geo(metres), &format!("{degrees:.6}")).unwrap().parse().unwrap();
        let cell = f64::from(metres) / 111_132.0 * 1.1 + 2e-6;
        prop_assert!((moved - degrees).abs() <= cell && moved.abs() <= 180.0);
        prop_assert!(degrees.abs() > 90.0 || moved.abs() <= 90.0);
    }
}
