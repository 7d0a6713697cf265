//! Verifiers: keys calculated elsewhere, rows, and what must not be shown.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One login that is known from elsewhere; the user is `user`, the password `pencil`.
struct Vector {
    hash: ScramHash,
    salt: &'static str,
    server_nonce: &'static str,
    proof: &'static str,
    signature: &'static str,
}

/// The example of RFC 7677, and a login for SHA-512 that tests of several SCRAM libraries share; both calculated again
/// with Python's hashlib.
const VECTORS: [Vector; 2] = [
    Vector {
        hash: ScramHash::Sha256,
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
    Vector {
        hash: ScramHash::Sha512,
        salt: "Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=",
        server_nonce: "02431b08-2f89-4bad-a4e6-80c0564ec865",
        proof: "Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==",
        signature: "BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
    },
];

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

#[test]
fn the_known_logins_are_right() {
    for Vector { hash, salt, server_nonce, proof, signature } in VECTORS {
        let nonce = format!("rOprNGfwEbeRWgbNEkqO{server_nonce}");
        let auth = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}");
        // The salts of the vectors have lengths of their own, so the keys are derived below the verifier.
        let (auth, salt, proof) = (auth.as_bytes(), decode(salt), decode(proof));
        let answer = match hash {
            ScramHash::Sha256 => Keys::derive::<Sha256>(b"pencil", &salt, 4096).check::<Sha256>(auth, &proof),
            ScramHash::Sha512 => Keys::derive::<Sha512>(b"pencil", &salt, 4096).check::<Sha512>(auth, &proof),
        };
        assert_eq!(answer.map(|bytes| STANDARD.encode(bytes)).as_deref(), Some(signature), "{hash:?}");
    }
}

#[test]
fn the_keys_are_those_that_other_programs_derive() {
    let salt = *b"0123456789abcdef";
    let verifier = Verifier::derive("a token: 4f1c", salt);
    // Python: hmac.new(hashlib.pbkdf2_hmac(h, b"a token: 4f1c", salt, 4096), b"Server Key" | b"Client Key", h)
    let keys = [
        (&verifier.sha256.stored.0[..], "s6TU6Loi9sj/UcqnxuYxCyRX5StLYA1tPJyvennWOLA="),
        (&verifier.sha256.server.0[..], "RM2BqJ05MfvA6Te1jzYW5KKEaHt8KcxEeCX3jyz87AY="),
        (
            &verifier.sha512.stored.0[..],
            "l4gP6k1XhrDrG5gYlGuCJAfuoBwKZyEXFIObCulaXxTiceG+W91fCDcLF9SzlfkNf6S/6bxWZeAWuM0Z71ha8Q==",
        ),
        (
            &verifier.sha512.server.0[..],
            "C7QfKKY8t/P3PtGTJG1mJsFRBHdDLbphikymAijEe8FV4ZdCZFadUVt5jhei4M38rK+22Onez+18BuZHV0RaXQ==",
        ),
    ];
    for (key, expected) in keys {
        assert_eq!(STANDARD.encode(key), expected);
    }
    assert_eq!((verifier.salt(), verifier.iterations()), (&salt, 4096));
}

#[test]
fn a_proof_fits_its_hash_its_message_and_its_password_only() {
    let salted = Sha256::pbkdf2(b"pencil", &[7; SALT_BYTES], ITERATIONS);
    let client = Sha256::mac(&*salted.0, CLIENT_KEY);
    let signature = Sha256::mac(&*Sha256::hash(&*client.0).0, b"auth");
    let proof: Vec<u8> = client.0.iter().zip(&*signature.0).map(|(a, b)| a ^ b).collect();

    let own = Verifier::derive("pencil", [7; SALT_BYTES]);
    assert!(own.check(ScramHash::Sha256, b"auth", &proof).is_some());
    assert_eq!(own.check(ScramHash::Sha512, b"auth", &proof), None, "another hash");
    assert_eq!(own.check(ScramHash::Sha256, b"auth2", &proof), None, "another message");
    for (password, salt) in [("pencils", [7; SALT_BYTES]), ("pencil", [8; SALT_BYTES]), ("", [7; SALT_BYTES])] {
        let other = Verifier::derive(password, salt);
        assert_eq!(other.check(ScramHash::Sha256, b"auth", &proof), None, "{password:?} {salt:?}");
    }
    for wrong in [&proof[..31], &[], &[&proof[..], &[0]].concat()] {
        assert_eq!(own.check(ScramHash::Sha256, b"auth", wrong), None, "{} bytes", wrong.len());
    }
}

#[test]
fn a_verifier_comes_back_from_its_row_and_a_damaged_row_is_refused() {
    let verifier = Verifier::new("pencil");
    let row = postcard::to_stdvec(&verifier).unwrap();
    // Salt, iterations in two bytes, and four keys behind one byte of length each.
    assert_eq!(row.len(), SALT_BYTES + 2 + 2 * (1 + SHA256_BYTES) + 2 * (1 + SHA512_BYTES));
    assert_eq!(postcard::from_bytes::<Verifier>(&row).unwrap(), verifier);
    for length in 0..row.len() {
        assert!(postcard::from_bytes::<Verifier>(&row[..length]).is_err(), "{length} bytes");
    }
    let mut short = row;
    assert_eq!(short[SALT_BYTES + 2], 32);
    short[SALT_BYTES + 2] = 31;
    assert!(postcard::from_bytes::<Verifier>(&short).is_err());
}

#[test]
fn nothing_secret_shows() {
    let verifier = Verifier::derive("pencil", [0xAB; SALT_BYTES]);
    assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
    assert_eq!(format!("{:?}", Decoys::random()), "Decoys { .. }");
}

#[test]
fn new_verifiers_of_one_password_differ() {
    let (one, two) = (Verifier::new("pencil"), Verifier::new("pencil"));
    assert!(one.salt() != two.salt() && one != two);
    assert_eq!(Verifier::derive("pencil", *one.salt()), one);
}

#[test]
fn a_decoy_has_one_salt_a_name_and_no_key_twice() {
    let decoys = Decoys::from_key([1; 32]);
    let ada = decoys.verifier("ada");
    assert_eq!(ada.salt(), decoys.verifier("ada").salt());
    assert_eq!(ada.salt(), Decoys::from_key([1; 32]).verifier("ada").salt());
    assert_eq!(ada.salt(), &decoys.salt("ada"));
    assert_eq!(ada.iterations(), Verifier::new("x").iterations());
    assert_ne!(ada, decoys.verifier("ada"));
    for (other, whose) in
        [(&decoys, "Ada"), (&decoys, ""), (&Decoys::from_key([2; 32]), "ada"), (&Decoys::random(), "ada")]
    {
        assert_ne!(&other.salt(whose), ada.salt(), "{whose:?}");
    }
}

#[test]
fn each_byte_of_a_key_counts() {
    let key = Key::new([5; SHA512_BYTES]);
    assert!(key == key.clone());
    for at in 0..SHA512_BYTES {
        let mut other = key.clone();
        other.0[at] ^= 1;
        assert!(key != other, "byte {at}");
    }
}
