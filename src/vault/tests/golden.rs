//! What was given out before has to be turned back for ever: tokens as the first version made them, under fixed secrets.
//!
//! A change here is a change of what partners hold. Add lines; never change one.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use super::*;

/// A house whose secrets are fixed, and nobody's.
pub(super) fn fixed() -> House {
    let memory = Memory::default();
    for name in ["parcelo", "adnet"] {
        let mut key = keys::Key::new([0; keys::KEY_LEN]);
        Hkdf::<Sha256>::new(None, b"golden").expand(name.as_bytes(), key.expose_secret_mut()).unwrap();
        memory.secrets.lock().unwrap().insert((domain(name), Epoch::FIRST), key);
    }
    House { vault: Vault::new(Arc::new(KeyRing::over(Box::new(memory)))) }
}

fn long(length: usize) -> String {
    "Straße 1, ".chars().cycle().take(length).collect()
}

#[test]
fn opaque_and_email_tokens_are_what_they_were() {
    let house = fixed();
    for (shape, partner, name, value, wanted) in [
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text(""),
            "tk1_jakjw3um2il4ehlq5p673toced7mwuqz3ruoogqr6kyyc3ysbgzzsccbykhy",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text("Anna"),
            "tk1_jakjwv6ijcwug3xshluzk5r7w6ci4h32tmdhjvsyvgyeotmab7udsialm64y",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text("fifteen letters"),
            "tk1_jakjwuydxs6u23l4u4jsqk2iypjn3yfgwk5kdbmikwm5kevj32ind7dxu53a",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text("sixteen letters!"),
            "tk1_jakjwjipunb74kclnknc5e6b22pdvjt2wx2ykrkeer2guo7wqvl7e4axbt5pgxzix3ufnjmgaes2hpn2nzt5u",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text("anna.kern@example.or"),
            "tk1_jakjwktyh2bnfc3pkcpfkikjyerq42whlfuxyq66ituf66ynqdfvsouiqtged6763aqj3pod2ggbvv4cze4kk",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text(&long(29)),
            "tk1_jakjwsgyybsxntix754wgto3zqq44vkmq37atwcdmabofjku5v2ungoxrgbhisx2vrmb6fz27yhwu7ba2vhtdyo3l6lxikyhlhvgozxeh7fuooy",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Text(&long(100)),
            "tk1_jakjwziofjvjwnaezhgbb7g5qi45gr6moefefse2m4jjdazkeozkqcsf7pgnsfrfbhh24rjnglfovaatsl5nr6f6jcptpnjklogpbvts4rmxt3a6uhtrdh4qcfyel55toqaalyn3xwqphrhiwl25oq7p6w2mdcu5ps2gd6dpybiccblb4i3ywkthsh6f3lkifywykyenfvzkz5s4v755e",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Number("1e0"),
            "tk1_jakjwggjsqtolx3yo5xy352aumsnizgkyl7egrgekptejfdimfbectsxuw3i",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "name",
            Value::Number("-5e-1"),
            "tk1_jakjwygmokf5iensekxdmt4g627hsp7s5txwml7mnclk3l3cblq3xbwdow5q",
        ),
        (
            Shape::Opaque,
            "parcelo",
            "card",
            Value::Text("Anna"),
            "tk1_jakjw66glqseccj5bvku7q4wrtsmohe2uxlwha6l4pzqhtcop67p6v77ov4y",
        ),
        (
            Shape::Opaque,
            "adnet",
            "name",
            Value::Text("Anna"),
            "tk1_2r6amypri7xvk6whtuzt4asvyolppznbgq45q6uz37u4u2n5f3w6vyf3gumy",
        ),
        (
            Shape::Email,
            "parcelo",
            "mail",
            Value::Text("a@b.example"),
            "tk1_jakjw4x4773hi4ab4lctcbl6uvpasrwcfu4o2jt2v6x5uonjrjf6gtii23jy@token.invalid",
        ),
        (
            Shape::Email,
            "parcelo",
            "mail",
            Value::Text("anna.kern@example.org"),
            "tk1_jakjwpy65fn76lts73kdqeitlrqyjgmwdgtlv6oew3yfq75cqkud6anzki2h@hwrlyhly4j7rfbviyoafgudql.token.invalid",
        ),
        (
            Shape::Email,
            "adnet",
            "mail",
            Value::Text(&long(80)),
            "tk1_2r6amom4ztkjeunhkjjpyke6kphk44hfhhjmpajqbemijefwqqble4bs4kn6@rdm2zh6tu4tdx32vdt6n3dvgrclbpl52ygw73umwdrpixyuh2dglrkm6zfcx7mr.hi55gnnwp67femqr7jl2oszhdelinnwuee5lclqnmdkli2o5a4llmhpxivie4ep.ey.token.invalid",
        ),
    ] {
        let (_, token) = issue(&house.sealer(partner, name, shape), value);
        assert_eq!(token, wanted);
        let (kind, text) = value.parts();
        let opened = open(&house.opener(partner, name), wanted);
        assert_eq!((opened.0 == Opened::Number, opened.1 == text), (kind == 1, kind == 0));
    }
}

#[test]
fn long_tokens_are_what_they_were() {
    let sealer = fixed().sealer("parcelo", "name", Shape::Opaque);
    for (length, wanted) in [
        (300, "a9ddb4f9996374d8a35a401621cdd274185f3eb07a450b022a535dc7263e8bc7"),
        (460, "027c721eaa3c0ae7657b9a1beef86f4d39a42159065a1760de3851ac00b7df21"),
        (500, "1c75b2a5a2ea6ddd9aea5d49aa1fd34024d816b3a89fde3b10ab1216ee7e1170"),
        (2_000, "d87451efc661ac2e00b248e463a457e6c342e7559b4b476e643cdadf79518dfb"),
        (20_000, "3cb4c9f4ba7926b728563a0503e4f5b01f017db0dadb7593a502927cb03a8321"),
    ] {
        let token = token(&sealer, &long(length));
        assert_eq!(data_encoding::HEXLOWER.encode(&Sha256::digest(token)), wanted, "{length}");
    }
}

#[test]
fn digits_are_what_they_were() {
    let house = fixed();
    let sealer = house.sealer("parcelo", "card", Shape::Digits);
    let opener = house.vault.opener(&domain("parcelo"), &category("card"), Some(Shape::Digits)).unwrap();
    for (value, wanted) in [
        ("123456", "660488"),
        ("012345", "042904"),
        ("1234567", "2440478"),
        ("0123456", "0748521"),
        ("0151234567890", "0608204154817"),
        ("4111111111111111", "9007123780013679"),
        ("4111111111111112", "1319890909982452"),
        ("4242424242424242424", "3250421168765289451"),
        ("12345678901234567890", "13046124838196536357"),
        (
            "1234567890123456789012345678901234567890123456789012345678901234",
            "6430419374355100218631370424349601591667320805868653362164388611",
        ),
    ] {
        assert_eq!(token(&sealer, value), wanted);
        assert_eq!(open(&opener, wanted), (Opened::Text, value.to_owned()));
    }
}

#[test]
fn pseudonyms_are_what_they_were() {
    let house = fixed();
    for (partner, name, value, wanted) in [
        ("parcelo", "name", Value::Text("Anna"), "ps1_lvemnhgquqsduvkck57pvgtxpa"),
        ("parcelo", "name", Value::Text(""), "ps1_hwcxdkeeq6hdtrxurm4khg4zr4"),
        ("parcelo", "name", Value::Number("1e0"), "ps1_kjfbeg7zrasqkvjxdgn4eeke2q"),
        ("parcelo", "name", Value::Text(&long(100)), "ps1_k22snpt6yqacokiy7dqcqqgdmm"),
        ("adnet", "name", Value::Text("Anna"), "ps1_lhrujpefc2axthmnhjopyxksji"),
    ] {
        let pseudonymizer = house.vault.pseudonymizer(&domain(partner), Some(&category(name))).unwrap();
        assert_eq!(hash(&pseudonymizer, value), wanted);
    }
}

#[test]
fn shapes_that_keep_a_form_are_what_they_were() {
    let house = fixed();
    for (shape, value, wanted) in [
        (Shape::Alnum, "KD1234567", "G1V0MRE81"),
        (Shape::Alnum, "kd1234567", "h5zcx2h9q"),
        (Shape::Alnum, "Kd1234567", "jrSYfm7Ia"),
        (Shape::Alnum, "0000", "KHE7"),
        (Shape::Card, "4111 1111 1111 1111", "8332 0620 5513 4248"),
        (Shape::Card, "378282246310005", "696150220321050"),
        (Shape::Iban, "DE89 3704 0044 0532 0130 00", "DE52 3974 8690 5326 8698 28"),
        (Shape::Iban, "GB82WEST12345698765432", "GB10379ZX069M80H4MYZAJ"),
        (Shape::Date, "1984-02-29T10:00:00Z", "1987-10-06T10:00:00Z"),
    ] {
        assert_eq!(token(&house.sealer("parcelo", "thing", shape), value), wanted);
        let opener = house.vault.opener(&domain("parcelo"), &category("thing"), Some(shape)).unwrap();
        assert_eq!(open(&opener, wanted), (Opened::Text, value.to_owned()));
    }
}

#[test]
fn tokens_and_pseudonyms_of_normalised_values_are_what_they_were() {
    let house = fixed();
    for (how, value, wanted, pseudonym) in [
        (
            Normalize::Nfc,
            "Zoe\u{308}",
            "tk1_jakjwr3vn66hjefkxw3kyjvycaxj3ugv45z2csjugxal47ltlvlj5qd74yfi",
            "ps1_oure4shcswsibmk4euwen4eyom",
        ),
        (
            Normalize::Email,
            "Anna@Example.ORG",
            "tk1_jakjwk2ihzpxysj2g7eke3vm6zcjnmpqf27hzazrphsi6b4ffnhr6s2owpe56pqabacblqmnot5ksjjli6gft",
            "ps1_q32u26yrgaznf5mfiiqoesbxbm",
        ),
        (
            Normalize::E164,
            "+49 151 23456789",
            "tk1_jakjweqg4lipvijmmnms4yf4h3txrqmhfy6374kyy2vtlrpv2wquurfq66ai",
            "ps1_jfnghyyhboijob6dmctkprmcfu",
        ),
    ] {
        let sealer = house.sealer("parcelo", "thing", Shape::Opaque).normalizing(Some(how));
        assert_eq!(token(&sealer, value), wanted);
        let pseudonymizer = house.vault.pseudonymizer(&domain("parcelo"), None).unwrap().normalizing(Some(how));
        assert_eq!(hash(&pseudonymizer, Value::Text(value)), pseudonym);
    }
}
