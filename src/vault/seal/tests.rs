//! Each primitive against published vectors: all that Wycheproof has for the sizes in use, and those of NIST and the RFCs.

use aes::cipher::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{Algorithm, ECDH_P256, PrivateKey, UnparsedPublicKey, X25519, agree};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use fpe::ff1::{FF1, FlexibleNumeralString};
use hkdf::Hkdf;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;
use wycheproof::TestResult;

use super::digits::Digits;
use super::jwe::{PublicKey, concat_kdf};
use super::pseudonym::{HASH_LEN, KeyedHash};
use super::siv::Siv;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
}

/// Sealed: the tag, and the text in the same buffer.
fn siv_seal(key: &[u8], context: &[&[u8]], plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut text = plain.to_vec();
    let tag = Siv::new(key.try_into().unwrap(), context).seal(&mut text);
    (tag.to_vec(), text)
}

#[test]
fn aes_siv_agrees_with_all_vectors_of_wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesSivCmac).unwrap();
    let mut run = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 512) {
        for test in &group.tests {
            let context = [test.aad.as_slice(), &test.nonce];
            let siv = Siv::new(test.key.as_slice().try_into().unwrap(), &context);
            let mut text = test.ct.to_vec();
            let opened = <&[u8; 16]>::try_from(test.tag.as_slice()).is_ok_and(|tag| siv.open(tag, &mut text));
            assert_eq!(opened, test.result == TestResult::Valid, "{}", test.tc_id);
            if opened {
                assert_eq!(text, test.pt.as_slice(), "{}", test.tc_id);
                assert_eq!(
                    siv_seal(&test.key, &context, &test.pt),
                    (test.tag.to_vec(), test.ct.to_vec()),
                    "{}",
                    test.tc_id
                );
            } else {
                assert!(text.iter().all(|byte| *byte == 0), "{}: nothing of it is left", test.tc_id);
            }
            run += 1;
        }
    }
    assert!(run > 100, "{run}");
}

proptest! {
    #[test]
    fn aes_siv_agrees_with_another_implementation(
        key in proptest::collection::vec(any::<u8>(), 64),
        context in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5),
        // Short and long ones go different ways.
        plain in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            proptest::collection::vec(any::<u8>(), 0..2000),
        ],
    ) {
        let parts: Vec<&[u8]> = context.iter().map(Vec::as_slice).collect();
        let (tag, text) = siv_seal(&key, &parts, &plain);
        let theirs = Aes256Siv::new(key.as_slice().try_into().unwrap()).encrypt(&context, &plain).unwrap();
        prop_assert_eq!([tag.clone(), text.clone()].concat(), theirs);
        let (mut back, siv) = (text, Siv::new(key.as_slice().try_into().unwrap(), &parts));
        prop_assert!(siv.open(tag.as_slice().try_into().unwrap(), &mut back));
        prop_assert_eq!(back, plain);
    }
}

#[test]
fn hmac_sha_256_agrees_with_all_vectors_of_wycheproof() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            use hmac::Mac as _;
            let mut mac = <hmac::Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&test.key).unwrap();
            mac.update(&test.msg);
            assert_eq!(
                mac.verify_truncated_left(&test.tag).is_ok(),
                test.result == TestResult::Valid,
                "{}",
                test.tc_id
            );
            run += 1;
            // Ours puts a byte for the kind before the text, and keeps 128 bits.
            let (Ok(key), Some((kind, text))) = (test.key.as_slice().try_into(), test.msg.split_first()) else {
                continue;
            };
            if test.result == TestResult::Valid {
                let kept = test.tag.len().min(HASH_LEN);
                assert_eq!(KeyedHash::new(key).hash(*kind, text)[..kept], test.tag[..kept], "{}", test.tc_id);
            }
        }
    }
    assert!(run > 100, "{run}");
}

#[test]
fn hkdf_sha_256_agrees_with_all_vectors_of_wycheproof() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mut out = vec![0; test.size];
            let expanded = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut out);
            assert_eq!(expanded.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
            assert!(expanded.is_err() || out == test.okm.as_slice(), "{}", test.tc_id);
            run += 1;
        }
    }
    assert!(run > 50, "{run}");
}

fn ff1(radix: u32, key: &[u8], tweak: &[u8], encrypt: bool, digits: &[u16]) -> Option<Vec<u16>> {
    macro_rules! with {
        ($cipher:ty) => {{
            let (ff1, digits) =
                (FF1::<$cipher>::new(key, radix).unwrap(), FlexibleNumeralString::from(digits.to_vec()));
            if encrypt { ff1.encrypt(tweak, &digits) } else { ff1.decrypt(tweak, &digits) }.ok().map(Vec::from)
        }};
    }
    match key.len() {
        16 => with!(aes::Aes128),
        24 => with!(aes::Aes192),
        32 => with!(super::block::Aes256),
        _ => None,
    }
}

#[test]
fn ff1_agrees_with_all_vectors_of_wycheproof_for_our_radixes() {
    use wycheproof::fpe_list::TestName::{AesFf1Radix10, AesFf1Radix36, AesFf1Radix62};
    for (name, radix, least) in [
        (AesFf1Radix10, 10, super::digits::DIGITS_MIN),
        (AesFf1Radix36, 36, super::alnum::ALNUM_MIN),
        (AesFf1Radix62, 62, super::alnum::ALNUM_MIN),
    ] {
        let set = wycheproof::fpe_list::TestSet::load(name).unwrap();
        let (mut run, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let Ok(plain) = test.pt.iter().map(|digit| u16::try_from(*digit)).collect::<Result<Vec<_>, _>>() else {
                assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                continue;
            };
            let sealed: Vec<_> = test.ct.iter().map(|digit| u16::try_from(*digit).unwrap()).collect();
            let encrypted = ff1(radix, &test.key, &test.tweak, true, &plain);
            if test.result == TestResult::Valid && plain.len() >= least {
                assert_eq!(encrypted.as_ref(), Some(&sealed), "{}", test.tc_id);
                assert_eq!(ff1(radix, &test.key, &test.tweak, false, &sealed), Some(plain), "{}", test.tc_id);
                run += 1;
            } else {
                assert_eq!(encrypted, None, "{}", test.tc_id);
                refused += 1;
            }
        }
        assert!(run > 100, "{radix}: {run} {refused}");
    }
}

#[test]
fn ff1_agrees_with_the_samples_of_nist() {
    // SP 800-38G, samples 1 to 9: keys of 128, 192 and 256 bits.
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94");
    let (none, tweak) = (Vec::new(), hex("39383736353433323130"));
    let (long, plain) = (hex("3737373770717273373737"), "0123456789abcdefghi");
    for (length, radix, tweak, plain, sealed) in [
        (16, 10, &none, &plain[..10], "2433477484"),
        (16, 10, &tweak, &plain[..10], "6124200773"),
        (16, 36, &long, plain, "a9tv40mll9kdu509eum"),
        (24, 10, &none, &plain[..10], "2830668132"),
        (24, 10, &tweak, &plain[..10], "2496655549"),
        (24, 36, &long, plain, "xbj3kv35jrawxv32ysr"),
        (32, 10, &none, &plain[..10], "6657667009"),
        (32, 10, &tweak, &plain[..10], "1001623463"),
        (32, 36, &long, plain, "xs8a0azh2avyalyzuwd"),
    ] {
        let numerals = |text: &str| text.chars().map(|c| c.to_digit(36).unwrap() as u16).collect::<Vec<_>>();
        let (plain, sealed) = (numerals(plain), numerals(sealed));
        assert_eq!(ff1(radix, &key[..length], tweak, true, &plain), Some(sealed.clone()));
        assert_eq!(ff1(radix, &key[..length], tweak, false, &sealed), Some(plain));
    }
}

#[test]
fn six_digits_are_permuted_without_a_clash_and_keep_their_leading_zero() {
    let digits = Digits::new(&[7; 64], b"test");
    let mut seen = vec![false; 1_000_000];
    // One in 151 of all, every last digit and leading zero among them: all would take too long.
    for value in (0..1_000_000).step_by(151) {
        let (mut token, mut back, value) = (Vec::new(), Vec::new(), format!("{value:06}"));
        assert!(digits.encrypt(value.as_bytes(), &mut token) && digits.decrypt(&token, &mut back));
        assert_eq!(back, value.as_bytes());
        assert_eq!(token.first() == Some(&b'0'), value.starts_with('0'));
        let number: usize = std::str::from_utf8(&token).unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[number], true), "{value}");
    }
}

#[test]
fn numbers_that_differ_in_the_check_digit_alone_have_different_tokens() {
    let digits = Digits::new(&[7; 64], b"test");
    for base in 411_111_111_111_100u64..411_111_111_111_200 {
        let tokens: std::collections::HashSet<_> = (0..10)
            .map(|last| {
                let mut token = Vec::new();
                assert!(digits.encrypt(format!("{base}{last}").as_bytes(), &mut token));
                token
            })
            .collect();
        assert_eq!(tokens.len(), 10);
    }
}

#[test]
fn aes_256_gcm_agrees_with_all_vectors_of_wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut run = 0;
    let ours =
        |group: &&wycheproof::aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    for group in set.test_groups.iter().filter(ours) {
        for test in &group.tests {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
            let nonce = || Nonce::try_assume_unique_for_key(&test.nonce).unwrap();
            let mut sealed = [test.ct.as_slice(), &test.tag].concat();
            let opened = key.open_in_place(nonce(), Aad::from(&test.aad), &mut sealed).map(|text| text.to_vec());
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
            if let Ok(opened) = opened {
                assert_eq!(opened, test.pt.as_slice(), "{}", test.tc_id);
                let mut text = test.pt.to_vec();
                let tag = key.seal_in_place_separate_tag(nonce(), Aad::from(&test.aad), &mut text).unwrap();
                assert_eq!(
                    (text.as_slice(), tag.as_ref()),
                    (test.ct.as_slice(), test.tag.as_slice()),
                    "{}",
                    test.tc_id
                );
            }
            run += 1;
        }
    }
    assert!(run > 50, "{run}");
}

fn shared(algorithm: &'static Algorithm, private: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let private = PrivateKey::from_private_key(algorithm, private).unwrap();
    agree(&private, UnparsedPublicKey::new(algorithm, public), (), |shared| Ok(shared.to_vec())).ok()
}

#[test]
fn ecdh_on_p_256_agrees_with_all_vectors_of_wycheproof() {
    let set = wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // A private key is written there as a number.
        let mut private = [0; 32];
        let number = &test.private_key[test.private_key.len().saturating_sub(32)..];
        private[32 - number.len()..].copy_from_slice(number);
        let found = shared(&ECDH_P256, &private, &test.public_key);
        match (test.result, found) {
            (TestResult::Valid, found) => {
                assert_eq!(found.as_deref(), Some(test.shared_secret.as_slice()), "{}", test.tc_id)
            }
            (TestResult::Acceptable, None) => {}
            (TestResult::Acceptable, Some(found)) => assert_eq!(found, test.shared_secret.as_slice(), "{}", test.tc_id),
            (TestResult::Invalid, found) => assert_eq!(found, None, "{}", test.tc_id),
        }
        run += 1;
    }
    assert!(run > 100, "{run}");
}

#[test]
fn x25519_agrees_with_all_vectors_of_wycheproof_and_refuses_a_secret_of_zeros() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut run, mut zeros) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let found = shared(&X25519, &test.private_key, &test.public_key);
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert_eq!(found, None, "{}", test.tc_id);
            zeros += 1;
        } else {
            assert_eq!(found.as_deref(), Some(test.shared_secret.as_slice()), "{}", test.tc_id);
        }
        run += 1;
    }
    assert!(run > 400 && zeros > 5, "{run} {zeros}");
}

fn coordinate(jwk: &Value, name: &str) -> Vec<u8> {
    BASE64URL_NOPAD.decode(jwk[name].as_str().unwrap().as_bytes()).unwrap()
}

fn point(jwk: &Value) -> Vec<u8> {
    match jwk["kty"].as_str() {
        Some("EC") => [vec![4], coordinate(jwk, "x"), coordinate(jwk, "y")].concat(),
        _ => coordinate(jwk, "x"),
    }
}

/// Bob's key of RFC 7518, appendix C.
fn bob() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
        "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
        "d": "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw",
    })
}

/// The key pair of RFC 7748, section 6.1 (Bob).
fn bob_25519() -> Value {
    json!({
        "kty": "OKP", "crv": "X25519", "kid": "it's \"Bob\"",
        "x": BASE64URL_NOPAD.encode(&hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")),
        "d": BASE64URL_NOPAD.encode(&hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")),
    })
}

fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().remove("d");
    jwk
}

#[test]
fn concat_kdf_agrees_with_rfc_7518_appendix_c() {
    let alice = json!({
        "kty": "EC", "crv": "P-256",
        "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
        "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
        "d": "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo",
    });
    let agreed = shared(&ECDH_P256, &coordinate(&alice, "d"), &point(&bob())).unwrap();
    let key = concat_kdf(&agreed, b"A128GCM", b"Alice", b"Bob", 128);
    assert_eq!(BASE64URL_NOPAD.encode(&key[..16]), "VqqN6vgjbSBcIijNcacQGg");
}

/// As a partner would: by the private key, from the text alone.
fn decrypt(private: &Value, jwe: &str) -> (Value, Vec<u8>) {
    let parts: Vec<_> = jwe.split('.').collect();
    let [head, "", iv, text, tag] = parts[..] else { panic!("five parts, no encrypted key: {jwe}") };
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&decode(head)).unwrap();
    let algorithm = if private["kty"] == "EC" { &ECDH_P256 } else { &X25519 };
    let agreed = shared(algorithm, &coordinate(private, "d"), &point(&header["epk"])).unwrap();
    let key = concat_kdf(&agreed, b"A256GCM", b"", b"", 256);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).unwrap());
    let mut sealed = [decode(text), decode(tag)].concat();
    let nonce = Nonce::try_assume_unique_for_key(&decode(iv)).unwrap();
    let plain = key.open_in_place(nonce, Aad::from(head.as_bytes()), &mut sealed).unwrap().to_vec();
    (header, plain)
}

#[test]
fn a_jwe_is_read_by_the_private_key_and_never_twice_the_same() {
    for private in [bob(), bob_25519()] {
        let key = PublicKey::from_jwk(&public(&private).to_string()).unwrap();
        let encrypt = |plain: &[u8]| {
            let mut out = b"before ".to_vec();
            key.encrypt(plain, &mut out).unwrap();
            String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
        };
        let jwe = encrypt("\"Anna Kern, Hauptstraße\"".as_bytes());
        assert!(jwe.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')), "{jwe}");
        let (header, plain) = decrypt(&private, &jwe);
        assert_eq!(plain, "\"Anna Kern, Hauptstraße\"".as_bytes());
        assert_eq!(
            (&header["alg"], &header["enc"], &header["cty"]),
            (&json!("ECDH-ES"), &json!("A256GCM"), &json!("json"))
        );
        assert_eq!(header.get("kid"), private.get("kid"));
        assert_eq!(header["epk"]["crv"], private["crv"]);
        assert_ne!(jwe, encrypt("\"Anna Kern, Hauptstraße\"".as_bytes()));
        assert_eq!(decrypt(&private, &encrypt(b"")).1, b"");
    }
}

#[test]
fn a_jwk_that_is_no_public_key_for_encryption_is_refused() {
    let with = |name: &str, value: Value| {
        let mut jwk = public(&bob());
        jwk[name] = value;
        jwk.to_string()
    };
    let mut no_y = public(&bob());
    no_y.as_object_mut().unwrap().remove("y");
    let small_order = json!({"kty": "OKP", "crv": "X25519", "x": BASE64URL_NOPAD.encode(&[0; 32])}).to_string();
    for (jwk, wanted) in [
        (bob().to_string(), "this is a private key"),
        (with("crv", json!("P-384")), "expected `kty`"),
        (with("kty", json!("RSA")), "expected `kty`"),
        (with("use", json!("sig")), "`use` is not `enc`"),
        (with("alg", json!("ECDH-ES+A256KW")), "`alg` is not `ECDH-ES`"),
        (with("key_ops", json!(["verify"])), "`key_ops` has neither"),
        (with("x", json!("AAAA")), "`x` is not 32 bytes"),
        (with("x", json!("=".repeat(43))), "`x` is not 32 bytes"),
        (with("x", json!("weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMR")), "`x` is not 32 bytes"),
        (with("y", json!(BASE64URL_NOPAD.encode(&[1; 32]))), "not a point"),
        (no_y.to_string(), "`y` is missing"),
        (small_order, "not a point"),
        (json!({"keys": [public(&bob())]}).to_string(), "this is a key set"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "not a JWK (RFC 7517): line 1, column 2"),
        (String::new(), "not a JWK"),
    ] {
        let refused = PublicKey::from_jwk(&jwk).unwrap_err();
        assert!(refused.contains(wanted), "{refused}");
        assert!(!refused.contains(bob()["d"].as_str().unwrap()));
    }
    for (name, value) in
        [("use", json!("enc")), ("alg", json!("ECDH-ES")), ("key_ops", json!([])), ("ext", json!(true))]
    {
        PublicKey::from_jwk(&with(name, value)).unwrap();
    }
}

#[test]
fn ciphers_do_not_print_their_keys() {
    let prints = [
        format!("{:?}", Siv::new(&[0xab; 64], &[])),
        format!("{:?}", KeyedHash::new(&[0xab; 32])),
        format!("{:?}", Digits::new(&[0xab; 64], b"")),
        format!("{:?}", super::alnum::Alnum::new(&[0xab; 32], b"")),
        format!("{:?}", super::iban::Iban::new(&[0xab; 64], b"")),
    ];
    for print in prints {
        assert!(print.ends_with("([secret])") && !print.contains(&HEXLOWER.encode(&[0xab])), "{print}");
    }
}
