//! Logins: the examples of the RFCs, messages that are wrong in every way, and a client of its own.

use super::*;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256, Sha512};
use std::collections::HashMap;

const HASHES: [Mechanism; 2] = [Mechanism::ScramSha256, Mechanism::ScramSha512];
const TOKEN: &str = "9f3c0f2f6f0a4b7c8d9e0a1b2c3d4e5f6071829304a5b6c7";
const NONCE: &str = "fyko+d2lbbFgONRvqkxdawL";
/// The iterations that a client of the tests puts up with: a changed message may ask for any.
const CLIENT_ITERATIONS_MAX: u32 = 10_000;

fn mac(mechanism: Mechanism, key: &[u8], text: &[u8]) -> Vec<u8> {
    match mechanism {
        Mechanism::ScramSha512 => {
            Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
        }
        _ => Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec(),
    }
}

fn hash(mechanism: Mechanism, text: &[u8]) -> Vec<u8> {
    if mechanism == Mechanism::ScramSha512 { Sha512::digest(text).to_vec() } else { Sha256::digest(text).to_vec() }
}

/// A client of SCRAM, which believes every message: what it does not check the server must.
struct Client {
    mechanism: Mechanism,
    header: &'static str,
    bare: String,
    password: String,
    /// Salted passwords by salt and iterations.
    salted: HashMap<(Vec<u8>, u32), Vec<u8>>,
}

impl Client {
    fn new(mechanism: Mechanism, user: &str, password: &str) -> Self {
        let bare = format!("n={},r={NONCE}", user.replace('=', "=3D").replace(',', "=2C"));
        Self { mechanism, header: "n,,", bare, password: password.to_owned(), salted: HashMap::new() }
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare).into_bytes()
    }

    fn salted(&mut self, salt: Vec<u8>, iterations: u32) -> Vec<u8> {
        let (mechanism, password) = (self.mechanism, self.password.as_bytes());
        let derive = |(salt, iterations): &(Vec<u8>, u32)| match mechanism {
            Mechanism::ScramSha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, *iterations).to_vec(),
            _ => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, *iterations).to_vec(),
        };
        self.salted.entry((salt, iterations)).or_insert_with_key(derive).clone()
    }

    /// The second message, and the answer that shows that the server knows the password. `None`: the challenge is
    /// unreadable.
    fn last(&mut self, challenge: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let challenge = std::str::from_utf8(challenge).ok()?;
        let mut parts = challenge.splitn(3, ',');
        let nonce = parts.next()?.strip_prefix("r=")?;
        let salt = STANDARD.decode(parts.next()?.strip_prefix("s=")?).ok()?;
        let iterations = parts.next()?.strip_prefix("i=")?.parse().ok().filter(|i| *i <= CLIENT_ITERATIONS_MAX)?;
        let salted = self.salted(salt, iterations);
        let client_key = mac(self.mechanism, &salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(self.header));
        let auth = format!("{},{challenge},{without_proof}", self.bare);
        let signature = mac(self.mechanism, &hash(self.mechanism, &client_key), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server = mac(self.mechanism, &mac(self.mechanism, &salted, b"Server Key"), auth.as_bytes());
        let message = format!("{without_proof},p={}", STANDARD.encode(proof));
        Some((message.into_bytes(), format!("v={}", STANDARD.encode(server)).into_bytes()))
    }
}

fn begin(mechanism: Mechanism, first: &[u8]) -> Result<Lookup> {
    match Exchange::new(mechanism).message(first)? {
        Step::NeedVerifier(lookup) => Ok(lookup),
        step => panic!("{step:?}"),
    }
}

/// Logs in; the user and the server's last message.
fn log_in(client: &mut Client, verifier: Option<&Verifier>, decoys: &Decoys) -> Result<(String, Vec<u8>)> {
    let lookup = begin(client.mechanism, &client.first())?;
    let (challenge, exchange) = lookup.challenge(verifier.cloned(), decoys);
    let (last, expected) = client.last(&challenge).unwrap();
    match exchange.message(&last)? {
        Step::Done { user, server_final } => {
            assert_eq!(server_final, expected);
            Ok((user, server_final))
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn mechanisms_have_the_names_of_iana() {
    for mechanism in Mechanism::ALL {
        assert_eq!(mechanism.to_string().parse(), Ok(mechanism));
    }
    for other in ["", "plain", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "GSSAPI", "OAUTHBEARER", "PLAIN "] {
        assert_eq!(other.parse::<Mechanism>(), Err(SaslError::UnknownMechanism), "{other}");
    }
}

/// The user and password of a message of PLAIN.
type Login<'a> = Result<(&'a str, &'a str)>;

#[test]
fn plain_messages() {
    use SaslError::{MalformedPlain, NotUtf8, OtherUser, TooLong};
    let long = format!("\0u\0{}", "x".repeat(MESSAGE_BYTES_MAX - 3));
    let too_long = format!("{long}x");
    let table: &[(&[u8], Login<'_>)] = &[
        (b"\0orders\0token", Ok(("orders", "token"))),
        (b"orders\0orders\0token", Ok(("orders", "token"))),
        ("\0größe\0pässwort".as_bytes(), Ok(("größe", "pässwort"))),
        (b"\0a,b=2C\0 =,", Ok(("a,b=2C", " =,"))),
        (long.as_bytes(), Ok(("u", &long[3..]))),
        (too_long.as_bytes(), Err(TooLong { bytes: 4097 })),
        (b"other\0orders\0token", Err(OtherUser)),
        (b"\0orders\0", Err(MalformedPlain)),
        (b"\0\0token", Err(MalformedPlain)),
        (b"\0\0", Err(MalformedPlain)),
        (b"orders\0token", Err(MalformedPlain)),
        (b"\0orders\0to\0ken", Err(MalformedPlain)),
        (b"\0orders\0token\0", Err(MalformedPlain)),
        (b"orders", Err(MalformedPlain)),
        (b"", Err(MalformedPlain)),
        (b"\0orders\0\xff", Err(NotUtf8)),
        (b"\0\xc3\0token", Err(NotUtf8)),
    ];
    for (message, expected) in table {
        let step = Exchange::new(Mechanism::Plain).message(message);
        let got = step.map(|step| match step {
            Step::CheckPassword { user, password } => (user, password.expose().to_owned()),
            step => panic!("{step:?}"),
        });
        let expected = expected.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(got, expected, "{}", message.escape_ascii());
    }
}

#[test]
fn first_messages() {
    use SaslError::{
        ChannelBinding, DelegationToken, MalformedFirst, MandatoryExtension, NameEncoding, NotUtf8, OtherUser, TooLong,
    };
    let long = format!("n,,n=u,r={}", "x".repeat(MESSAGE_BYTES_MAX - 9));
    let too_long = format!("{long}x");
    let table: &[(&[u8], Result<&str>)] = &[
        (b"n,,n=orders,r=abc", Ok("orders")),
        (b"y,,n=orders,r=abc", Ok("orders")),
        (b"n,a=orders,n=orders,r=abc", Ok("orders")),
        (b"n,a=a=2Cb,n=a=2Cb,r=abc", Ok("a,b")),
        (b"n,,n==2C=3D=3D2C,r=abc", Ok(",==2C")),
        (b"n,,n=a=3D,r=abc", Ok("a=")),
        ("n,,n=größe,r=abc".as_bytes(), Ok("größe")),
        (b"n,,n=orders,r=a!b=c~", Ok("orders")),
        (b"n,,n=orders,r=abc,x=1,yy==,tokenauth=false", Ok("orders")),
        (long.as_bytes(), Ok("u")),
        (too_long.as_bytes(), Err(TooLong { bytes: 4097 })),
        // headers
        (b"p=tls-unique,,n=orders,r=abc", Err(ChannelBinding)),
        (b"p=tls-exporter,a=orders,n=orders,r=abc", Err(ChannelBinding)),
        (b"p,,n=orders,r=abc", Err(MalformedFirst)),
        (b"N,,n=orders,r=abc", Err(MalformedFirst)),
        (b"F,n,,n=orders,r=abc", Err(MalformedFirst)),
        (b"n,n=orders,r=abc", Err(MalformedFirst)),
        (b"n,orders,n=orders,r=abc", Err(MalformedFirst)),
        (b"n,a=,n=orders,r=abc", Err(MalformedFirst)),
        (b"n,a=root,n=orders,r=abc", Err(OtherUser)),
        (b"n,a=orders=2C,n=orders,r=abc", Err(OtherUser)),
        (b"n,a=ord=ers,n=orders,r=abc", Err(NameEncoding)),
        // names
        (b"n,,n=,r=abc", Err(MalformedFirst)),
        (b"n,,r=abc", Err(MalformedFirst)),
        (b"n,,n=a\0b,r=abc", Err(MalformedFirst)),
        (b"n,,n=a=b,r=abc", Err(NameEncoding)),
        (b"n,,n=a=,r=abc", Err(NameEncoding)),
        (b"n,,n=a=2c,r=abc", Err(NameEncoding)),
        (b"n,,n=a=2,r=abc", Err(NameEncoding)),
        (b"n,,n=\xff,r=abc", Err(NotUtf8)),
        // nonces
        (b"n,,n=orders,r=", Err(MalformedFirst)),
        (b"n,,n=orders", Err(MalformedFirst)),
        (b"n,,n=orders,", Err(MalformedFirst)),
        (b"n,,n=orders,r=a b", Err(MalformedFirst)),
        (b"n,,n=orders,r=a\x7f", Err(MalformedFirst)),
        ("n,,n=orders,r=ä".as_bytes(), Err(MalformedFirst)),
        (b"n,,r=abc,n=orders", Err(MalformedFirst)),
        // extensions
        (b"n,,m=x,n=orders,r=abc", Err(MandatoryExtension)),
        (b"n,,n=orders,r=abc,m=x", Err(MandatoryExtension)),
        (b"n,,n=orders,r=abc,tokenauth=true", Err(DelegationToken)),
        (b"n,,n=orders,r=abc,x=1,tokenauth=TRUE", Err(DelegationToken)),
        (b"n,,n=orders,r=abc,", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,x", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,x=", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,=1", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,1=1", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,x=\0", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,n=root", Err(MalformedFirst)),
        (b"n,,n=orders,r=abc,r=def", Err(MalformedFirst)),
        (b"n,,", Err(MalformedFirst)),
        (b"n", Err(MalformedFirst)),
        (b"", Err(MalformedFirst)),
        (b"\0orders\0token", Err(MalformedFirst)),
    ];
    for mechanism in HASHES {
        for (message, expected) in table {
            let got = begin(mechanism, message).map(|lookup| lookup.user().to_owned());
            assert_eq!(got, expected.map(str::to_owned), "{}", message.escape_ascii());
        }
    }
}

#[test]
fn second_messages() {
    use SaslError::{ChannelMismatch, InvalidCredentials, MalformedFinal, MandatoryExtension, NonceMismatch, TooLong};
    let (verifier, decoys) = (Verifier::new(TOKEN), Decoys::random());
    let proof = STANDARD.encode([0; 32]);
    let long = format!("c=biws,r=abcdef,x={},p={proof}", "x".repeat(MESSAGE_BYTES_MAX));
    let table: &[(&str, SaslError)] = &[
        ("c=biws,r=abcdef,p=PROOF", InvalidCredentials),
        ("c=biws,r=abcdef,x=1,yy=a=b,p=PROOF", InvalidCredentials),
        ("c=biws,r=abcdef,p=", InvalidCredentials),
        ("c=biws,r=abcdef,p=AAAA", InvalidCredentials),
        ("c=eSws,r=abcdef,p=PROOF", ChannelMismatch),
        ("c=biwsYQ==,r=abcdef,p=PROOF", ChannelMismatch),
        ("c=,r=abcdef,p=PROOF", ChannelMismatch),
        ("c=biws,r=abcdeF,p=PROOF", NonceMismatch),
        ("c=biws,r=abc,p=PROOF", NonceMismatch),
        ("c=biws,r=def,p=PROOF", NonceMismatch),
        ("c=biws,r=abcdefg,p=PROOF", NonceMismatch),
        ("c=biws,r=,p=PROOF", NonceMismatch),
        ("c=biws,r=abcdef", MalformedFinal),
        ("c=biws,r=abcdef,p=PRO", MalformedFinal),
        ("c=biws,r=abcdef,p=PROOF=", MalformedFinal),
        ("c=biws,r=abcdef,p=PROOF,x=1", MalformedFinal),
        ("c=biws,r=abcdef,p=PROOF,p=PROOF", MalformedFinal),
        ("c=biws,r=abcdef,r=abcdef,p=PROOF", MalformedFinal),
        ("c=biws,p=PROOF", MalformedFinal),
        ("r=abcdef,p=PROOF", MalformedFinal),
        ("r=abcdef,c=biws,p=PROOF", MalformedFinal),
        ("c=biws,r=abcdef,,p=PROOF", MalformedFinal),
        ("p=PROOF", MalformedFinal),
        ("", MalformedFinal),
        ("m=1,c=biws,r=abcdef,p=PROOF", MandatoryExtension),
        ("c=biws,r=abcdef,m=1,p=PROOF", MandatoryExtension),
        (&long, TooLong { bytes: long.len() }),
    ];
    for (message, expected) in table {
        // Whether the user exists shows in none of them.
        for verifier in [Some(verifier.clone()), None] {
            let lookup = begin(Mechanism::ScramSha256, b"n,,n=orders,r=abc").unwrap();
            let (_, exchange) = lookup.challenge_with(verifier, &decoys, "def");
            let got = exchange.message(message.replace("PROOF", &proof).as_bytes());
            assert_eq!(got.err(), Some(*expected), "{message}");
        }
    }
    // An unused bit of the last letter is no second way to write a proof.
    let lookup = begin(Mechanism::ScramSha256, b"n,,n=orders,r=abc").unwrap();
    let (_, exchange) = lookup.challenge_with(None, &decoys, "def");
    let sloppy = format!("c=biws,r=abcdef,p={}B=", &proof[..42]);
    assert_eq!(exchange.message(sloppy.as_bytes()).err(), Some(MalformedFinal));
}

#[test]
fn clients_with_the_password_are_let_in_and_others_are_not() {
    let decoys = Decoys::random();
    for (user, password) in [("orders", TOKEN), ("CKABCDEFGHIJKLMNOPQR", "wJalrXUtnFEMI/K7MDENG+="), ("a,b=c", "é\0")]
    {
        let verifier = Verifier::new(password);
        for mechanism in HASHES {
            for header in ["n,,", "y,,"] {
                let mut client = Client { header, ..Client::new(mechanism, user, password) };
                assert_eq!(log_in(&mut client, Some(&verifier), &decoys).unwrap().0, user);
            }
            let mut wrong = Client::new(mechanism, user, &format!("{password} "));
            assert_eq!(log_in(&mut wrong, Some(&verifier), &decoys), Err(SaslError::InvalidCredentials));
            let mut unknown = Client::new(mechanism, user, password);
            assert_eq!(log_in(&mut unknown, None, &decoys), Err(SaslError::InvalidCredentials));
        }
    }
}

#[test]
fn extensions_that_are_not_known_are_covered_by_the_proof() {
    let (verifier, decoys) = (Verifier::new(TOKEN), Decoys::random());
    let mut client = Client::new(Mechanism::ScramSha256, "orders", TOKEN);
    client.bare += ",x=1,tokenauth=false";
    log_in(&mut client, Some(&verifier), &decoys).unwrap();
    client.header = "n,a=orders,";
    log_in(&mut client, Some(&verifier), &decoys).unwrap();
}

#[test]
fn a_proof_is_good_for_one_exchange() {
    let (verifier, decoys) = (Verifier::new(TOKEN), Decoys::random());
    for mechanism in HASHES {
        let mut client = Client::new(mechanism, "orders", TOKEN);
        let challenge =
            |client: &Client| begin(mechanism, &client.first()).unwrap().challenge(Some(verifier.clone()), &decoys);
        let ((one, exchange), (two, other)) = (challenge(&client), challenge(&client));
        assert_ne!(one, two, "nonces differ");
        let (last, _) = client.last(&one).unwrap();
        assert!(exchange.message(&last).is_ok());
        assert_eq!(other.message(&last).err(), Some(SaslError::NonceMismatch));
    }
}

/// Even when the server were to find the right verifier, and the client were to believe every message.
#[test]
fn no_message_with_a_changed_byte_lets_a_client_in() {
    let (verifier, decoys) = (Verifier::new(TOKEN), Decoys::random());
    for mechanism in HASHES {
        let mut client = Client::new(mechanism, "orders", TOKEN);
        let challenge = |first: &[u8]| {
            let lookup = begin(mechanism, first).ok()?;
            Some(lookup.challenge_with(Some(verifier.clone()), &decoys, "3rfcNHYJY1ZVvWVs7j"))
        };
        let first = client.first();
        let (second, exchange) = challenge(&first).unwrap();
        let (last, expected) = client.last(&second).unwrap();
        assert!(matches!(exchange.message(&last), Ok(Step::Done { server_final, .. }) if server_final == expected));

        for changed in changes(&first, 1..=255) {
            let Some((second, exchange)) = challenge(&changed) else { continue };
            let Some((last, _)) = client.last(&second) else { continue };
            let step = exchange.message(&last);
            assert!(step.is_err(), "{} {step:?}", changed.escape_ascii());
        }
        for changed in changes(&second, [0x01, 0x02, 0x18]) {
            let Some((last, _)) = client.last(&changed) else { continue };
            let (_, exchange) = challenge(&first).unwrap();
            let step = exchange.message(&last);
            assert!(step.is_err(), "{} {step:?}", changed.escape_ascii());
        }
        for changed in changes(&last, 1..=255) {
            let (_, exchange) = challenge(&first).unwrap();
            let step = exchange.message(&changed);
            assert!(step.is_err(), "{} {step:?}", changed.escape_ascii());
        }
    }
}

/// `message` with one byte changed, by each mask, or missing.
fn changes(message: &[u8], masks: impl IntoIterator<Item = u8> + Clone) -> impl Iterator<Item = Vec<u8>> {
    (0..message.len()).flat_map(move |at| {
        let shorter = [&message[..at], &message[at + 1..]].concat();
        let changed = masks.clone().into_iter().map(move |mask| {
            let mut changed = message.to_vec();
            changed[at] ^= mask;
            changed
        });
        changed.chain([shorter])
    })
}

#[test]
fn no_plain_message_with_a_changed_byte_has_the_same_user_and_password() {
    let message = format!("\0orders\0{TOKEN}").into_bytes();
    for changed in changes(&message, 1..=255) {
        let Ok(Step::CheckPassword { user, password }) = Exchange::Plain.message(&changed) else { continue };
        assert!(user != "orders" || password.expose() != TOKEN, "{}", changed.escape_ascii());
    }
}

#[test]
fn an_unknown_user_is_challenged_as_a_known_one() {
    let decoys = Decoys::random();
    let challenge = |mechanism, user: &str, verifier: Option<&Verifier>| {
        let first = Client::new(mechanism, user, TOKEN).first();
        let (challenge, _) = begin(mechanism, &first).unwrap().challenge(verifier.cloned(), &decoys);
        let challenge = String::from_utf8(challenge).unwrap();
        let [nonce, salt, iterations] = challenge.split(',').collect::<Vec<_>>().try_into().unwrap();
        assert!(nonce.strip_prefix("r=").unwrap().strip_prefix(NONCE).is_some_and(|own| own.len() == 24), "{nonce}");
        assert!(salt.len() == 26 && iterations == "i=4096", "{challenge}");
        salt.to_owned()
    };
    let verifier = Verifier::new(TOKEN);
    let [one, other] = HASHES;
    let unknown = challenge(one, "nobody", None);
    for _ in 0..3 {
        assert_eq!(challenge(one, "nobody", None), unknown);
    }
    assert_eq!(challenge(other, "nobody", None), unknown, "one salt for both hashes, as known users have");
    assert_ne!(challenge(one, "nobody2", None), unknown);
    let known = challenge(one, "orders", Some(&verifier));
    assert_eq!(challenge(other, "orders", Some(&verifier)), known);
    // A user whose verifier is made for each login.
    let derived = || Verifier::derive("secret", decoys.salt("CKAAAA"));
    assert_eq!(challenge(one, "CKAAAA", Some(&derived())), challenge(one, "CKAAAA", None));
}

#[test]
fn errors_and_debug_texts_repeat_nothing() {
    let errors = [
        SaslError::UnknownMechanism,
        SaslError::TooLong { bytes: 5000 },
        SaslError::NotUtf8,
        SaslError::MalformedPlain,
        SaslError::MalformedFirst,
        SaslError::MalformedFinal,
        SaslError::NameEncoding,
        SaslError::OtherUser,
        SaslError::ChannelBinding,
        SaslError::MandatoryExtension,
        SaslError::DelegationToken,
        SaslError::ChannelMismatch,
        SaslError::NonceMismatch,
        SaslError::InvalidCredentials,
    ];
    for error in errors {
        let message = String::from_utf8(error.to_scram_message()).unwrap();
        assert!(message.strip_prefix("e=").unwrap().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{message}");
        assert!(error.to_string().len() < 200 && !error.to_string().contains('\n'), "{error}");
    }
    assert_eq!(SaslError::ChannelBinding.to_scram_message(), b"e=channel-binding-not-supported");

    let step = Exchange::Plain.message(b"\0orders\0hunter2").unwrap();
    assert_eq!(format!("{step:?}"), r#"CheckPassword { user: "orders", password: *** }"#);
    let lookup = begin(Mechanism::ScramSha256, b"n,,n=orders,r=abc").unwrap();
    let (_, exchange) = lookup.challenge(Some(Verifier::new("hunter2")), &Decoys::random());
    let text = format!("{exchange:?}");
    assert!(text.contains("Verifier { iterations: 4096, .. }"), "{text}");
}

/// Messages that are almost right.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[nyp],?(a=)?[a=,23CD]{0,6},?n=[a=,23CDé]{0,8},r=[!-~]{0,8}(,[a-zA-Z]{0,3}=.{0,4}){0,3}"
            .prop_map(String::into_bytes),
        "c=(biws|eSws|[a-z=]{0,8}),r=abcdef(,[a-z]{0,2}=?.{0,3}){0,3},p=[A-Za-z0-9+/]{0,44}=?"
            .prop_map(String::into_bytes),
        "\0{0,2}[a-zé]{0,5}\0{0,2}[a-zé]{0,5}\0?".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic_or_let_anybody_in(first in almost(), last in almost()) {
        let decoys = Decoys::from_key([3; 32]);
        for mechanism in Mechanism::ALL {
            for first in [first.as_slice(), b"n,,n=orders,r=abc"] {
                match Exchange::new(mechanism).message(first) {
                    Ok(Step::NeedVerifier(lookup)) => {
                        let (_, exchange) = lookup.challenge_with(None, &decoys, "def");
                        prop_assert!(exchange.message(&last).is_err());
                    }
                    Ok(Step::CheckPassword { user, password }) => {
                        prop_assert!(!user.is_empty() && !password.expose().is_empty());
                    }
                    Ok(step) => prop_assert!(false, "{step:?}"),
                    Err(_) => {}
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_user_and_password_log_in(user in "[^\0]{1,20}", password in ".{1,20}", wrong in ".{1,20}") {
        let (verifier, decoys) = (Verifier::new(&password), Decoys::random());
        for mechanism in HASHES {
            let done = log_in(&mut Client::new(mechanism, &user, &password), Some(&verifier), &decoys);
            prop_assert_eq!(done.map(|(user, _)| user), Ok(user.clone()));
            let other = log_in(&mut Client::new(mechanism, &user, &wrong), Some(&verifier), &decoys);
            prop_assert_eq!(other.is_ok(), wrong == password);
        }
    }
}
