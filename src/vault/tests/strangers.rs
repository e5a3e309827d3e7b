//! What two partners hold of the same people has nothing in common that could be joined on.
//!
//! Under fixed secrets, so that a test of chance has one outcome. Bounds are six standard deviations, so that one that is missed
//! says something.

use sha2::{Digest, Sha256};

use super::super::store::Spelling;
use super::golden::fixed;
use super::*;

const PEOPLE: usize = 10_000;

/// One row for each person: what the two partners got.
struct Held(Vec<[Vec<u8>; 2]>);

impl Held {
    /// `cut`: what of a token is not drawn, at its start and its end.
    fn of(cut: [usize; 2], make: impl Fn(&str, &str) -> String) -> Self {
        let one = |partner, person: &str| {
            let token = make(partner, person);
            token.as_bytes()[cut[0]..token.len() - cut[1]].to_vec()
        };
        // Telephone numbers of a small town: what somebody would join on, and much alike.
        let people = (0..PEOPLE).map(|n| format!("+49 6221 {:06}", 500_000 + n));
        Self(people.map(|person| [one("parcelo", &person), one("adnet", &person)]).collect())
    }

    fn all(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter().flatten()
    }

    fn share_nothing(&self, symbols: usize) {
        let distinct: HashSet<_> = self.all().collect();
        assert_eq!(distinct.len(), 2 * PEOPLE, "nobody's token is another's, here or there");
        self.no_long_prefix_is_shared(symbols);
        self.places_agree_by_chance_alone(symbols);
        self.symbols_are_even(symbols);
    }

    /// Of 10^8 pairs the closest agree in so many symbols by chance; four more is one in 10^6.
    fn no_long_prefix_is_shared(&self, symbols: usize) {
        let mut sorted: Vec<_> = self.all().collect();
        sorted.sort();
        let shared = |pair: &[&Vec<u8>]| pair[0].iter().zip(pair[1]).take_while(|(a, b)| a == b).count();
        let longest = sorted.windows(2).map(shared).max().unwrap();
        let bits = 2.0 * (2.0 * PEOPLE as f64).log2() + 20.0;
        assert!((longest as f64) < bits / (symbols as f64).log2(), "{longest} symbols");
    }

    /// One person's two tokens agree in as many places as two strangers' would.
    fn places_agree_by_chance_alone(&self, symbols: usize) {
        let places: usize = self.0.iter().map(|row| row[0].len()).sum();
        let agree: usize = self.0.iter().map(|row| row[0].iter().zip(&row[1]).filter(|(a, b)| a == b).count()).sum();
        let chance = 1.0 / symbols as f64;
        let (mean, deviation) = (places as f64 * chance, (places as f64 * chance * (1.0 - chance)).sqrt());
        assert!((agree as f64 - mean).abs() < 6.0 * deviation, "{agree} of {places}, not {mean}");
    }

    /// Pearson's chi-square, of every place by itself and of all together.
    fn symbols_are_even(&self, symbols: usize) {
        let length = self.0[0][0].len();
        let mut counts = vec![BTreeMap::<u8, usize>::new(); length + 1];
        for token in self.all() {
            for (place, symbol) in token.iter().enumerate() {
                *counts[place].entry(*symbol).or_default() += 1;
                *counts[length].entry(*symbol).or_default() += 1;
            }
        }
        for (place, counts) in counts.iter().enumerate() {
            let expected = counts.values().sum::<usize>() as f64 / symbols as f64;
            let seen: f64 = counts.values().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
            let chi_square = seen + (symbols - counts.len()) as f64 * expected;
            let free = symbols as f64 - 1.0;
            assert!(chi_square < free + 6.0 * (2.0 * free).sqrt(), "place {place}: {chi_square} for {free}");
        }
    }
}

#[test]
fn tokens_of_two_partners_for_ten_thousand_people_share_nothing() {
    let house = fixed();
    let of = |shape| {
        let sealers = ["parcelo", "adnet"].map(|partner| house.sealer(partner, "contact.phone", shape));
        move |partner: &str, person: &str| token(&sealers[usize::from(partner == "adnet")], person)
    };
    // Mark and key id are the partner's own; the last symbol has but two bits of a payload of 50 bytes that are cut unevenly.
    Held::of([4 + KEY_ID_LEN, 1], of(Shape::Opaque)).share_nothing(32);
    let mail = of(Shape::Email);
    let joined =
        |partner: &str, person: &str| mail(partner, person).replace("token.invalid", "").replace(['@', '.'], "");
    Held::of([4 + KEY_ID_LEN, 1], joined).share_nothing(32);
}

#[test]
fn stored_tokens_of_two_partners_for_ten_thousand_people_share_nothing() {
    let house = fixed();
    let issuers = ["parcelo", "adnet"].map(|partner| {
        house.vault.issuer(&domain(partner), Some(&category("contact.phone")), Spelling::Opaque, None).unwrap()
    });
    // What is drawn for them is the same in each run; what proves them is each partner's own.
    let drawn = std::cell::Cell::new(0_u64);
    let of = |partner: &str, _: &str| {
        let hash = Sha256::digest(drawn.replace(drawn.get() + 1).to_be_bytes());
        issuers[usize::from(partner == "adnet")].drawn(*hash.first_chunk().unwrap())
    };
    Held::of([0, 0], of).share_nothing(16);
    // Of what was drawn twice by chance the proof differs.
    let [proof, other] = issuers.each_ref().map(|issuer| issuer.drawn([7; 12])[22..].to_owned());
    assert_ne!(proof, other);
}

#[test]
fn pseudonyms_of_two_partners_for_ten_thousand_people_share_nothing() {
    let house = fixed();
    let made = ["parcelo", "adnet"].map(|partner| house.vault.pseudonymizer(&domain(partner), None).unwrap());
    let of = |partner: &str, person: &str| hash(&made[usize::from(partner == "adnet")], Value::Text(person));
    Held::of([4, 1], of).share_nothing(32);
}

#[test]
fn shaped_tokens_of_two_partners_for_ten_thousand_people_share_nothing() {
    let house = fixed();
    let of = |shape| ["parcelo", "adnet"].map(|partner| house.sealer(partner, "contact.phone", shape));
    let (digits, alnum) = (of(Shape::Digits), of(Shape::Alnum));
    let which = |partner: &str| usize::from(partner == "adnet");
    let number = |person: &str| person.replace([' ', '+'], "1") + "000000000";
    // The first digit is none of ten: it is 0 only where the value's is.
    Held::of([1, 0], |partner, person| token(&digits[which(partner)], &number(person))).share_nothing(10);
    Held::of([0, 0], |partner, person| token(&alnum[which(partner)], &number(person))).share_nothing(36);
}
