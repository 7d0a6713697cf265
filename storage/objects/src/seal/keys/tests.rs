//! Keys: wrapped and unwrapped, rotated, read from files and headers, and never shown. The golden bytes were made with
//! another implementation (Python's `cryptography`).

use super::*;
use proptest::prelude::*;

/// The base64 of the bytes 0, 1, .. 31, and of their MD5.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const KEY_MD5: &str = "tP/LI3N87DFaSk0aoqYgzg==";
const OTHER: &str = "//////////////////////////////////////////8=";

const CONTEXT: &[u8] = b"context";

fn bytes(first: u8) -> [u8; 32] {
    std::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

fn customer(first: u8) -> CustomerKey {
    CustomerKey(Key::new(bytes(first)))
}

fn ring(current: &str, older: &[&str]) -> Result<MasterKeys, KeyError> {
    format!("current = {current:?}\nolder = {older:?}\n").parse()
}

/// No way in which bytes are usually shown shows the key.
#[track_caller]
fn assert_hides(shown: &str, key: &[u8; 32]) {
    let texts = [STANDARD.encode(key), hex::encode(key), hex::encode_upper(key), format!("{key:?}")];
    for text in texts {
        let beginning = &text[..16]; // no beginning of it either
        assert!(!shown.contains(beginning), "{shown} shows {beginning}");
    }
}

#[test]
fn golden_bytes() {
    let salt: [u8; SALT_BYTES] = std::array::from_fn(|i| 0xa0 + u8::try_from(i).unwrap());
    assert_eq!(MasterKey::new(Key::new(bytes(0))).id.to_string(), "be6553dd43ded5a6");
    let sealed =
        hex::decode("7f17ba99496207dda91e37cdfb3b6bd36bcc52b31595b3ab106c1ddec8fc38255d135706a8602a0193edd87e1ec78642")
            .unwrap();
    let sealed = SealedKey { salt, sealed: sealed[..32].try_into().unwrap(), tag: sealed[32..].try_into().unwrap() };
    assert_eq!(customer(64).unwrap(&sealed, CONTEXT).unwrap().as_bytes(), &bytes(0));
    let mac = "c08f509ccec458c0898b07188f6c8110689135371a9f19b340a998c2c0d284b6";
    let verifier = CustomerKeyVerifier { salt, mac: hex::decode(mac).unwrap().try_into().unwrap() };
    assert!(customer(64).matches(&verifier));
}

#[test]
fn a_wrapped_key_opens_only_with_its_key_and_context() {
    let (ring, data_key) = (MasterKeys::generate(), DataKey::random());
    let wrapped = ring.wrap(&data_key, CONTEXT).unwrap();
    assert_eq!(wrapped.master, ring.current());
    assert_eq!(ring.unwrap(&wrapped, CONTEXT).unwrap().as_bytes(), data_key.as_bytes());
    assert_ne!(ring.wrap(&data_key, CONTEXT).unwrap(), wrapped, "every wrapping is new");
    for context in [b"".as_slice(), b"contexT", b"context "] {
        assert_eq!(ring.unwrap(&wrapped, context).unwrap_err(), KeyError::NotUnwrapped);
    }
    let other = MasterKeys::generate();
    assert_eq!(other.unwrap(&wrapped, CONTEXT).unwrap_err(), KeyError::NoSuchMasterKey { id: wrapped.master });
    let claimed = WrappedKey { master: other.current(), ..wrapped };
    assert_eq!(other.unwrap(&claimed, CONTEXT).unwrap_err(), KeyError::NotUnwrapped);
}

#[test]
fn every_flipped_bit_of_a_wrapped_key_is_found_and_it_keeps_its_length_in_rows() {
    let (key, data_key) = (customer(1), DataKey::random());
    let wrapped = postcard::to_stdvec(&key.wrap(&data_key, CONTEXT).unwrap()).unwrap();
    assert_eq!(wrapped.len(), 64);
    for bit in 0..wrapped.len() * 8 {
        let mut flipped = wrapped.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped: SealedKey = postcard::from_bytes(&flipped).unwrap();
        assert_eq!(key.unwrap(&flipped, CONTEXT).unwrap_err(), KeyError::NotUnwrapped, "bit {bit}");
    }
    let whole: SealedKey = postcard::from_bytes(&wrapped).unwrap();
    assert_eq!(key.unwrap(&whole, CONTEXT).unwrap().as_bytes(), data_key.as_bytes());
    assert_eq!(postcard::to_stdvec(&key.verifier()).unwrap().len(), 48);
    let by_ring = MasterKeys::generate().wrap(&data_key, CONTEXT).unwrap();
    assert_eq!(postcard::to_stdvec(&by_ring).unwrap().len(), 72);
}

#[test]
fn rotation_keeps_what_old_keys_wrapped_readable() {
    let (first, data_key) = (MasterKeys::generate(), DataKey::random());
    let old = first.wrap(&data_key, CONTEXT).unwrap();
    let second = first.rotated();
    assert_eq!(second.ids().collect::<Vec<_>>(), [second.current(), first.current()]);
    assert_eq!(second.unwrap(&old, CONTEXT).unwrap().as_bytes(), data_key.as_bytes());
    let new = second.wrap(&data_key, CONTEXT).unwrap();
    assert_eq!(new.master, second.current());
    let alone: MasterKeys = second.to_text().lines().next().unwrap().parse().unwrap();
    assert_eq!(alone.unwrap(&new, CONTEXT).unwrap().as_bytes(), data_key.as_bytes());
    assert_eq!(alone.unwrap(&old, CONTEXT).unwrap_err(), KeyError::NoSuchMasterKey { id: first.current() });
}

#[test]
fn a_ring_is_its_text_again_as_long_as_it_may_get() {
    let mut keys = MasterKeys::generate();
    for older in 0..=OLDER_KEYS_MAX {
        let text = keys.to_text();
        let read: MasterKeys = text.parse().unwrap();
        assert_eq!(read.ids().collect::<Vec<_>>(), keys.ids().collect::<Vec<_>>());
        assert_eq!(read.older.len(), older);
        assert_eq!(read.to_text(), text);
        if older < OLDER_KEYS_MAX {
            keys = keys.rotated();
        }
    }
    assert_eq!(keys.rotated().to_text().parse::<MasterKeys>().unwrap_err(), KeyError::TooManyMasterKeys);
    assert!(keys.to_text().len() < KEY_FILE_BYTES_MAX);
}

#[test]
fn files_that_are_no_ring_are_refused_by_line_or_key_and_without_their_text() {
    let twice = format!("current = {KEY:?}\nolder = [{OTHER:?}, {KEY:?}]");
    let crowd = format!("current = {KEY:?}\nolder = {:?}", [OTHER; OLDER_KEYS_MAX + 1]);
    let short = &KEY[..40];
    let url_safe = OTHER.replace('/', "_");
    let loose = KEY.replace("Hh8=", "Hh9="); // its last letter has bits that belong to no byte
    for (text, expected) in [
        (String::new(), KeyError::BadFile { line: 1 }),
        (format!("older = [{KEY:?}]"), KeyError::BadFile { line: 1 }),
        (format!("\ncurrent = {KEY}"), KeyError::BadFile { line: 2 }),
        (format!("current = {KEY:?}\n{OTHER:?}"), KeyError::BadFile { line: 2 }),
        (format!("current = {KEY:?}\n\n{OTHER:?} = 1"), KeyError::BadFile { line: 3 }),
        (format!("current = [{KEY:?}]"), KeyError::BadFile { line: 1 }),
        (format!("current = {KEY:?}\ncurrent = {OTHER:?}"), KeyError::BadFile { line: 2 }),
        (format!("current = {short:?}"), KeyError::BadMasterKey { place: KeyPlace::Current }),
        (format!("current = {url_safe:?}"), KeyError::BadMasterKey { place: KeyPlace::Current }),
        (format!("current = {loose:?}"), KeyError::BadMasterKey { place: KeyPlace::Current }),
        (
            format!("current = {KEY:?}\nolder = [{OTHER:?}, \"{short}====\"]"),
            KeyError::BadMasterKey { place: KeyPlace::Older(2) },
        ),
        (twice, KeyError::DoubleMasterKey { place: KeyPlace::Older(2) }),
        (crowd, KeyError::TooManyMasterKeys),
        (" ".repeat(KEY_FILE_BYTES_MAX + 1), KeyError::FileTooLong { bytes: KEY_FILE_BYTES_MAX + 1 }),
    ] {
        let error = text.parse::<MasterKeys>().unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert_hides(&format!("{error} {error:?}"), &bytes(0));
        assert_hides(&format!("{error} {error:?}"), &[255; 32]);
    }
    let good = ring(KEY, &[OTHER]).unwrap();
    assert_eq!(good.current().to_string(), "be6553dd43ded5a6");
}

#[test]
fn customer_keys_come_from_three_headers_that_agree() {
    let read = |algorithm, key, md5| CustomerKey::from_headers(algorithm, key, md5).map(|key| key.is_some());
    assert_eq!(read(None, None, None), Ok(false));
    assert_eq!(read(Some("AES256"), Some(KEY), Some(KEY_MD5)), Ok(true));
    let key = CustomerKey::from_headers(Some("AES256"), Some(KEY), Some(KEY_MD5)).unwrap().unwrap();
    assert_eq!(*key.0, bytes(0));
    assert_eq!(key.md5_base64(), KEY_MD5);
    let short = &KEY[..40];
    for (algorithm, key, md5, expected) in [
        (None, Some(KEY), Some(KEY_MD5), CustomerKeyError::NoAlgorithm),
        (None, None, Some(KEY_MD5), CustomerKeyError::NoAlgorithm),
        (Some("AES192"), Some(KEY), Some(KEY_MD5), CustomerKeyError::OtherAlgorithm),
        (Some("aes256"), None, None, CustomerKeyError::OtherAlgorithm),
        (Some("AES256"), None, None, CustomerKeyError::NoKey),
        (Some("AES256"), None, Some(KEY_MD5), CustomerKeyError::NoKey),
        (Some("AES256"), Some(""), Some(KEY_MD5), CustomerKeyError::BadKey),
        (Some("AES256"), Some(short), Some(KEY_MD5), CustomerKeyError::BadKey),
        (Some("AES256"), Some(&KEY.repeat(99)), Some(KEY_MD5), CustomerKeyError::BadKey),
        (Some("AES256"), Some(KEY), None, CustomerKeyError::NoMd5),
        (Some("AES256"), Some(KEY), Some(""), CustomerKeyError::OtherMd5),
        (Some("AES256"), Some(KEY), Some("AAAAAAAAAAAAAAAAAAAAAA=="), CustomerKeyError::OtherMd5),
        (Some("AES256"), Some(OTHER), Some(KEY_MD5), CustomerKeyError::OtherMd5),
    ] {
        let error = CustomerKey::from_headers(algorithm, key, md5).unwrap_err();
        assert_eq!(error, expected);
        assert_hides(&format!("{error} {error:?}"), &bytes(0));
    }
}

#[test]
fn a_verifier_tells_a_customer_key_from_others() {
    let (key, other) = (customer(0), customer(1));
    let verifier = key.verifier();
    assert!(key.matches(&verifier));
    assert!(!other.matches(&verifier));
    assert!(key.verifier() != verifier, "equal keys of two objects do not look equal");
    let sealed = key.wrap(&DataKey::random(), CONTEXT).unwrap();
    assert_eq!(other.unwrap(&sealed, CONTEXT).unwrap_err(), KeyError::NotUnwrapped);
    assert_eq!(key.unwrap(&sealed, b"other").unwrap_err(), KeyError::NotUnwrapped);
}

#[test]
fn nothing_shows_a_key() {
    let ring = ring(KEY, &[OTHER]).unwrap();
    assert_eq!(format!("{ring:?}"), "[MasterKeyId(be6553dd43ded5a6), MasterKeyId(f87873228aeabbe9)]");
    let (key, data_key) = (customer(0), DataKey::from_bytes(bytes(0)));
    assert_eq!(format!("{key:?} {data_key:?}"), "CustomerKey(***) DataKey(***)");
    let shown = format!("{:?} {:?}", ring.wrap(&data_key, CONTEXT).unwrap(), key.verifier());
    assert_hides(&shown, &bytes(0));
    assert_hides(&shown, &[255; 32]);
}

/// A value that wipes itself; only that it is one is checked here.
fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}

#[test]
fn keys_are_wiped_when_dropped() {
    wiped(&DataKey::random().0);
    wiped(&customer(0).0);
    wiped(&MasterKey::random().key);
    wiped(&MasterKeys::generate().to_text());
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic_and_no_error_repeats_it(text in "(?s).{0,200}", key in "[A-Za-z0-9+/]{43}=") {
        for file in [text.clone(), format!("current = {key:?}\n{text}"), format!("current = {text:?}"), format!("{key}\n{text}")] {
            if let Err(error) = file.parse::<MasterKeys>() {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains(&key));
            }
        }
        for md5 in [None, Some(text.as_str())] {
            if let Err(error) = CustomerKey::from_headers(Some("AES256"), Some(&key), md5) {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains(&key));
            }
        }
        prop_assert!(CustomerKey::from_headers(Some("AES256"), Some(&text), Some(&text)).is_err());
    }
}
