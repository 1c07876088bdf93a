//! Keys, their files, and what is no signature.

use super::*;
use alloc::format;
use alloc::string::ToString;

const HASH: [u8; 32] = [7; 32];

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; SEED_SIZE]).unwrap()
}

/// The group's order, little-endian (RFC 8032, 5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The y coordinates of the points of small order, and other encodings of them: all with either sign.
fn small_order() -> alloc::vec::Vec<[u8; 32]> {
    let hex = |text: &str| from_hex::<32>(text).unwrap();
    let p = |low: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, 0x7f);
        bytes
    };
    let mut one = [0; 32];
    one[0] = 1;
    let mut keys = alloc::vec![
        [0; 32],
        one,
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        p(0xec),
        p(0xed),
        p(0xee),
    ];
    for mut key in keys.clone() {
        key[31] |= 0x80;
        keys.push(key);
    }
    keys
}

#[test]
fn the_library_computes_what_the_standard_says() {
    // RFC 8032, 7.1, tests 1 and 2.
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &[][..],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ] {
        let pair = KeyPair::from_seed(Seed::new(from_hex(seed).unwrap()));
        assert_eq!(*pair.pk, from_hex(public).unwrap());
        assert_eq!(*pair.sk.sign(message, None), from_hex(signature).unwrap());
    }
}

#[test]
fn a_signature_is_one_for_its_key_and_hash_alone() {
    let signature = key(1).sign(&HASH);
    let public = key(1).public_key();
    assert!(public.verifies(&HASH, &signature));
    assert_eq!(key(1).sign(&HASH), signature, "the same key and hash give the same signature");
    assert!(!key(2).public_key().verifies(&HASH, &signature));
    assert!(!public.verifies(&[8; 32], &signature));
    for bit in 0..SIGNATURE_SIZE * 8 {
        let mut altered = signature;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!public.verifies(&HASH, &altered), "bit {bit}");
    }
    // What the key signs elsewhere is no signature of an artifact.
    let elsewhere = *key(1).0.sk.sign(HASH, None);
    assert!(!public.verifies(&HASH, &elsewhere));
}

#[test]
fn no_signature_can_be_made_of_another() {
    let signature = key(1).sign(&HASH);
    let public = key(1).public_key();
    // s + n·L means the same to whoever does not look.
    let mut altered = signature;
    let mut carried = 0;
    while carried == 0 {
        for (at, digit) in L.iter().enumerate() {
            let sum = u16::from(altered[32 + at]) + u16::from(*digit) + carried;
            (altered[32 + at], carried) = (sum as u8, sum >> 8);
        }
        if carried == 0 {
            assert!(!public.verifies(&HASH, &altered), "{altered:?}");
        }
    }
    // R of small order, R in another encoding.
    for r in small_order() {
        let mut altered = signature;
        altered[..32].copy_from_slice(&r);
        assert!(!public.verifies(&HASH, &altered));
    }
}

#[test]
fn keys_for_which_anybody_can_sign_are_none() {
    for bytes in small_order() {
        assert_eq!(PublicKey::from_bytes(bytes), None, "{bytes:?}");
        // Such as: R the neutral element, s zero, for whatever is said to be signed.
        let mut forged = [0; SIGNATURE_SIZE];
        forged[0] = 1;
        assert!(!verifies(&bytes, &HASH, &forged) && !verifies(&bytes, &HASH, &[0; SIGNATURE_SIZE]));
        let line = format!("ed25519 {} {}", Hex(&bytes), KeyId::of(&bytes));
        assert_eq!(TrustedKeys::parse(&line), Err(KeyError::Damaged(1)));
    }
    // Half of all numbers are the y of no point at all.
    let points = (0..=255).filter(|byte| PublicKey::from_bytes([*byte; 32]).is_some()).count();
    assert!((80..=176).contains(&points), "{points}");
}

#[test]
fn key_files_are_read_as_written() {
    let signing = SigningKey::parse(&format!("# mine\n\n  {}\r\n", key(3).secret_line())).unwrap();
    assert_eq!(signing.public_key(), key(3).public_key());
    let (a, b) = (key(1).public_key(), key(2).public_key());
    let text = format!("{a} somebody's own\n# and\n{b}\n{a}\n");
    let keys = TrustedKeys::parse(&text).unwrap();
    assert_eq!(keys.iter().copied().collect::<alloc::vec::Vec<_>>(), [a, b]);
    assert!(keys.contains(a.as_bytes()) && keys.contains(b.as_bytes()));
    assert!(!keys.contains(key(3).public_key().as_bytes()) && !keys.contains(&[0; 32]));
    let mut all = TrustedKeys::parse(&key(3).public_key().to_string()).unwrap();
    all.add_all(&keys).unwrap();
    all.add_all(&keys).unwrap();
    assert_eq!(all.iter().count(), 3);
}

#[test]
fn damaged_key_files_are_refused() {
    let secret = key(3).secret_line();
    let public = key(3).public_key().to_string();
    let parse = |text: &str| SigningKey::parse(text).map(drop).unwrap_err();
    assert_eq!(parse(""), KeyError::Empty);
    assert_eq!(parse("# nothing\n"), KeyError::Empty);
    assert_eq!(parse(&format!("{secret}\n{secret}")), KeyError::Several);
    assert_eq!(parse(&public), KeyError::PublicForSecret);
    assert_eq!(parse(&format!("\n{secret} more")), KeyError::Line(2));
    assert_eq!(parse(&format!("ed25519-secret {} 0", "0".repeat(64))), KeyError::Damaged(1));
    assert_eq!(parse("-----BEGIN PRIVATE KEY-----"), KeyError::Line(1));
    let trusted = |text: &str| TrustedKeys::parse(text).unwrap_err();
    assert_eq!(trusted("\n"), KeyError::Empty);
    assert_eq!(trusted(&secret), KeyError::SecretForPublic);
    assert_eq!(trusted(&format!("{public}\nnonsense\n")), KeyError::Line(2));
    // Cut anywhere, and every letter another one.
    for (text, refused) in [
        (&secret, &(|text: &str| SigningKey::parse(text).is_err()) as &dyn Fn(&str) -> bool),
        (&public, &|text| TrustedKeys::parse(text).is_err()),
    ] {
        assert!((0..text.len()).all(|len| refused(&text[..len])));
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'1' { b'2' } else { b'1' };
            assert!(refused(core::str::from_utf8(&damaged).unwrap()), "byte {at}");
        }
        assert!(refused(&text.replace(' ', "")) && refused("\u{e4}") && refused("\0"));
    }
    for error in [
        KeyError::Line(1),
        KeyError::Damaged(1),
        KeyError::Empty,
        KeyError::Several,
        KeyError::PublicForSecret,
        KeyError::SecretForPublic,
        KeyError::OutOfMemory,
    ] {
        assert!(error.to_string().contains("; "), "{error}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?} {:?}", key(3), key(3).public_key());
    assert!(!shown.contains("0303") && shown.contains(&key(3).public_key().id().to_string()), "{shown}");
}
