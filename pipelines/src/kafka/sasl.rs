//! The server's side of SASL for Kafka clients: PLAIN (RFC 4616), SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677).
//!
//! ```text
//! PLAIN  ─▶ [authzid] NUL user NUL password    Step::CheckPassword: the caller checks, and answers an empty message
//! SCRAM  ─▶ n,,n=user,r=nonce                  Step::NeedVerifier: the caller looks the user up
//!        ◀─ r=nonce+ours,s=salt,i=iterations   Lookup::challenge
//!        ─▶ c=biws,r=nonce+ours,p=proof        Step::Done
//!        ◀─ v=signature                        server_final
//! ```
//! Pure: messages come in, answers go out. An [`Exchange`] is used up by each message, so one that failed cannot go on.
//!
//! The user is a pipeline's name and the password its send token, or an access key id and its secret; all are ASCII.
//! There is no SASLprep: names and passwords that are not ASCII are taken as they come, and then match nothing or
//! themselves. Not offered: channel binding, delegation tokens, acting for another user. PLAIN shows the password to
//! whoever listens where there is no TLS; the listener warns of that when it starts. No error repeats anything of a message: people put passwords into the wrong
//! field.

use crate::scram::{Decoys, ScramHash, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The longest message of a client, in bytes. Real ones have some hundred.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;

/// Random bytes of the server's part of a nonce: 24 letters of base64.
const NONCE_BYTES: usize = 18;

/// The attributes that RFC 5802 gives a meaning. An extension cannot have these names.
const OWN_ATTRIBUTES: [&str; 9] = ["a", "c", "e", "i", "n", "p", "r", "s", "v"];

type Result<T, E = SaslError> = std::result::Result<T, E>;

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mechanism {
    /// The password itself.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All that are offered, the best first.
    pub(crate) const ALL: [Self; 3] = [Self::ScramSha512, Self::ScramSha256, Self::Plain];

    /// The name in the registry of IANA.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By its exact name.
impl FromStr for Mechanism {
    type Err = SaslError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name).ok_or(SaslError::UnknownMechanism)
    }
}

/// Why a client is not let in. The text is for `error_message` of SaslAuthenticate: it repeats nothing of what was
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    /// There is no such mechanism here.
    #[error("SASL mechanism is not offered: use SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN")]
    UnknownMechanism,
    /// The message is too long.
    #[error("SASL message has {bytes} bytes, it may have {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The message is not UTF-8.
    #[error("SASL message is not UTF-8: send user and password in UTF-8")]
    NotUtf8,
    /// A message of PLAIN is not what it should be.
    #[error("PLAIN message should be a NUL, the user, a NUL and the password: send both, and neither empty")]
    MalformedPlain,
    /// The first message of SCRAM is not what it should be.
    #[error("first SCRAM message should be n,,n=USER,r=NONCE, with a user and a nonce of printable ASCII letters")]
    MalformedFirst,
    /// The second message of SCRAM is not what it should be.
    #[error("second SCRAM message should be c=CHANNEL,r=NONCE,p=PROOF, with CHANNEL and PROOF in base64")]
    MalformedFinal,
    /// A name in a SCRAM message has an `=` that begins no escape.
    #[error("user name in a SCRAM message should have =3D for each = and =2C for each comma")]
    NameEncoding,
    /// The client wants to act for another user.
    #[error("authorization id should be left out or be the user that logs in: nobody can act for another user")]
    OtherUser,
    /// The client insists on channel binding.
    #[error("SCRAM channel binding is not supported: log in without it, by SCRAM-SHA-256 or SCRAM-SHA-512")]
    ChannelBinding,
    /// The client asks for an extension that it cannot do without.
    #[error("SCRAM message has the mandatory extension m, which is not supported: log in without it")]
    MandatoryExtension,
    /// The client wants to log in with a delegation token of Kafka.
    #[error("delegation tokens (tokenauth=true) are not supported: log in with a user and a password")]
    DelegationToken,
    /// The two messages of the client have different headers.
    #[error("c= of the second SCRAM message should be the base64 of the first message's header up to n=USER")]
    ChannelMismatch,
    /// The nonce is not the one of this exchange.
    #[error("r= of the second SCRAM message should be the nonce that the server sent")]
    NonceMismatch,
    /// There is no such user, or the password is another.
    #[error(
        "user or password is wrong: the user is a pipeline's name and the password its send token, or the user is an \
         access key id and the password its secret"
    )]
    InvalidCredentials,
}

impl SaslError {
    /// The error as a message of SCRAM, `e=` and a word of RFC 5802: for clients that read the answer's bytes. After
    /// PLAIN there is none to send.
    pub(crate) fn to_scram_message(self) -> Vec<u8> {
        let word = match self {
            Self::UnknownMechanism
            | Self::TooLong { .. }
            | Self::MalformedPlain
            | Self::MalformedFirst
            | Self::MalformedFinal
            | Self::OtherUser
            | Self::NonceMismatch => "other-error",
            Self::NotUtf8 => "invalid-encoding",
            Self::NameEncoding => "invalid-username-encoding",
            Self::ChannelBinding => "channel-binding-not-supported",
            Self::MandatoryExtension | Self::DelegationToken => "extensions-not-supported",
            Self::ChannelMismatch => "channel-bindings-dont-match",
            Self::InvalidCredentials => "invalid-proof", // for unknown users too
        };
        format!("e={word}").into_bytes()
    }
}

/// A password as a client sent it. `Debug` masks it, and it is wiped when dropped.
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    /// The text itself, for the check only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is to be done after a client's message.
#[derive(Debug)]
pub(crate) enum Step {
    /// PLAIN: if the password is the user's, the client is let in and answered an empty message; otherwise it is
    /// refused with [`SaslError::InvalidCredentials`].
    CheckPassword {
        /// Who logs in. Not empty.
        user: String,
        /// The password given. Not empty.
        password: Password,
    },
    /// SCRAM: the user's verifier is looked up and given to [`Lookup::challenge`].
    NeedVerifier(Lookup),
    /// SCRAM: the client has shown that it has the password.
    Done {
        /// Who has logged in.
        user: String,
        /// The answer, by which the client sees that the server knows it.
        server_final: Vec<u8>,
    },
}

/// A login that waits for the client's next message.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// PLAIN begins.
    Plain,
    /// SCRAM begins.
    Scram(ScramHash),
    /// SCRAM goes on: the proof is missing.
    Challenged(Box<Challenged>),
}

impl Exchange {
    /// Begins a login.
    pub(crate) fn new(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::ScramSha256 => Self::Scram(ScramHash::Sha256),
            Mechanism::ScramSha512 => Self::Scram(ScramHash::Sha512),
        }
    }

    /// Takes the client's next message. An error ends the login.
    pub(crate) fn message(self, message: &[u8]) -> Result<Step> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(SaslError::TooLong { bytes: message.len() });
        }
        let message = std::str::from_utf8(message).map_err(|_| SaslError::NotUtf8)?;
        match self {
            Self::Plain => read_plain(message),
            Self::Scram(hash) => Ok(Step::NeedVerifier(Lookup::new(hash, &ClientFirst::parse(message)?))),
            Self::Challenged(challenged) => challenged.finish(message),
        }
    }
}

fn read_plain(message: &str) -> Result<Step> {
    let mut parts = message.split('\0');
    let (Some(other), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::MalformedPlain);
    };
    if user.is_empty() || password.is_empty() {
        return Err(SaslError::MalformedPlain);
    }
    if !other.is_empty() && other != user {
        return Err(SaslError::OtherUser);
    }
    Ok(Step::CheckPassword { user: user.to_owned(), password: Password(Zeroizing::new(password.to_owned())) })
}

/// The first message of SCRAM, taken apart.
struct ClientFirst<'a> {
    /// `n,,` or the like: what the second message must confirm.
    header: &'a str,
    /// The rest, which the proof covers.
    bare: &'a str,
    user: String,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a str) -> Result<Self> {
        let (flag, rest) = message.split_once(',').ok_or(SaslError::MalformedFirst)?;
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(SaslError::ChannelBinding),
            _ => return Err(SaslError::MalformedFirst),
        }
        let (other, bare) = rest.split_once(',').ok_or(SaslError::MalformedFirst)?;
        let header = &message[..message.len() - bare.len()];
        if bare.starts_with("m=") {
            return Err(SaslError::MandatoryExtension);
        }
        let mut attributes = bare.split(',');
        let user = read_name(attributes.next().and_then(|text| text.strip_prefix("n=")))?;
        let nonce = attributes.next().and_then(|text| text.strip_prefix("r=")).filter(|nonce| is_nonce(nonce));
        let nonce = nonce.ok_or(SaslError::MalformedFirst)?;
        check_extensions(attributes, SaslError::MalformedFirst)?;
        if !other.is_empty() && read_name(other.strip_prefix("a="))? != user {
            return Err(SaslError::OtherUser);
        }
        Ok(Self { header, bare, user, nonce })
    }
}

/// A name without its escapes. It has no commas, as those end it.
fn read_name(escaped: Option<&str>) -> Result<String> {
    let escaped = escaped.filter(|name| !name.is_empty() && !name.contains('\0')).ok_or(SaslError::MalformedFirst)?;
    let mut pieces = escaped.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (letter, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(SaslError::NameEncoding),
        };
        name.push(letter);
        name.push_str(rest);
    }
    Ok(name)
}

/// A comma ends it, and is no letter of it.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Extensions that are not known are passed over, as RFC 5802 has it; their names may have more than one letter, as
/// Kafka's do.
fn check_extensions<'a>(attributes: impl Iterator<Item = &'a str>, malformed: SaslError) -> Result<()> {
    for attribute in attributes {
        let (name, value) = attribute.split_once('=').ok_or(malformed)?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
        let is_value = !value.is_empty() && !value.contains('\0');
        match name {
            "m" => return Err(SaslError::MandatoryExtension),
            "tokenauth" if value.eq_ignore_ascii_case("true") => return Err(SaslError::DelegationToken),
            _ if is_name && is_value && !OWN_ATTRIBUTES.contains(&name) => {}
            _ => return Err(malformed),
        }
    }
    Ok(())
}

/// A SCRAM login whose user is to be looked up.
#[derive(Debug)]
pub(crate) struct Lookup {
    hash: ScramHash,
    user: String,
    /// The `c=` that the second message must have.
    channel: String,
    bare: String,
    nonce: String,
}

impl Lookup {
    fn new(hash: ScramHash, first: &ClientFirst<'_>) -> Self {
        Self {
            hash,
            user: first.user.clone(),
            channel: STANDARD.encode(first.header),
            bare: first.bare.to_owned(),
            nonce: first.nonce.to_owned(),
        }
    }

    /// Who wants to log in. Not empty, and not proven.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The answer with salt and iterations, and the exchange that waits for the proof. Without a verifier, as there is
    /// no such user, the answer looks as if there were one and no proof fits.
    pub(crate) fn challenge(self, verifier: Option<Verifier>, decoys: &Decoys) -> (Vec<u8>, Exchange) {
        self.challenge_with(verifier, decoys, &STANDARD.encode(rand::random::<[u8; NONCE_BYTES]>()))
    }

    fn challenge_with(self, verifier: Option<Verifier>, decoys: &Decoys, own_nonce: &str) -> (Vec<u8>, Exchange) {
        let Self { hash, user, channel, bare, nonce } = self;
        let decoy = decoys.verifier(&user); // made always, as time tells too
        let known = verifier.is_some();
        let verifier = verifier.unwrap_or(decoy);
        let (client_nonce, nonce) = (nonce.clone(), nonce + own_nonce);
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(verifier.salt()), verifier.iterations());
        let covered = format!("{bare},{answer},");
        let challenged = Challenged { hash, user, channel, client_nonce, nonce, covered, verifier, known };
        (answer.into_bytes(), Exchange::Challenged(Box::new(challenged)))
    }
}

/// A SCRAM login that lacks the proof.
#[derive(Debug)]
pub(crate) struct Challenged {
    hash: ScramHash,
    user: String,
    /// The `c=` that the message must have.
    channel: String,
    /// The client's nonce.
    client_nonce: String,
    /// The client's nonce and the server's.
    nonce: String,
    /// What the proof covers of the messages so far.
    covered: String,
    verifier: Verifier,
    /// Whether there is such a user; if not, the verifier is a decoy.
    known: bool,
}

impl Challenged {
    fn finish(self, message: &str) -> Result<Step> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(SaslError::MalformedFinal)?;
        let proof = STANDARD.decode(proof).map_err(|_| SaslError::MalformedFinal)?;
        if without_proof.starts_with("m=") {
            return Err(SaslError::MandatoryExtension);
        }
        let mut attributes = without_proof.split(',');
        let mut value = |name| attributes.next().and_then(|text| text.strip_prefix(name));
        let channel = value("c=").ok_or(SaslError::MalformedFinal)?;
        let nonce = value("r=").ok_or(SaslError::MalformedFinal)?;
        check_extensions(attributes, SaslError::MalformedFinal)?;
        if channel != self.channel {
            return Err(SaslError::ChannelMismatch);
        }
        // librdkafka before 2.2 puts its own part in front once more. The proof covers what is sent, so that does no harm.
        let exact = self.nonce.as_str();
        if nonce != exact && nonce.strip_prefix(self.client_nonce.as_str()) != Some(exact) {
            return Err(SaslError::NonceMismatch);
        }
        let auth_message = self.covered + without_proof;
        match self.verifier.check(self.hash, auth_message.as_bytes(), &proof) {
            Some(signature) if self.known => {
                let server_final = format!("v={}", STANDARD.encode(signature)).into_bytes();
                Ok(Step::Done { user: self.user, server_final })
            }
            _ => Err(SaslError::InvalidCredentials),
        }
    }
}

#[cfg(test)]
mod tests;
