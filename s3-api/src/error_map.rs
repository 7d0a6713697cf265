//! The one table that turns the errors of the crates below into S3's codes and statuses.
//!
//! No `_` arm: a new variant below does not compile here until it is mapped. Causes that are ours (5xx) go into the
//! error's source, for the log, and never into the answer.

pub(crate) mod forms;

use crate::cors::{CorsError, PreflightError};
use crate::form::{FormBodyError, FormError, InvalidField, PolicyError, SignatureError};
use crate::lifecycle::LifecycleError;
use crate::notes::Notes;
use crate::notification::NotificationError;
use cistern_objects::http_headers::http_date_text;
use cistern_objects::{BodyError, Condition, CustomerKeyError, Error as ObjectsError, ErrorKind};
use http::header::{ALLOW, CONTENT_TYPE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;

/// What an operation answers instead of its output.
#[derive(Debug)]
pub(crate) struct Refusal(S3Error);

/// A code of S3 and the status that goes with it.
type Code = (&'static str, u16);

const INTERNAL: Code = ("InternalError", 500);
const INTERNAL_TEXT: &str = "We encountered an internal error. Please try again.";
const MALFORMED_XML_TEXT: &str =
    "The XML you provided was not well-formed or did not validate against our published schema.";
const NO_SUCH_UPLOAD_TEXT: &str = "The specified upload does not exist. The upload ID may be invalid, or the upload may \
                                   have been aborted or completed.";
const SLOW_DOWN: Code = ("SlowDown", 503);
const UNAVAILABLE: Code = ("ServiceUnavailable", 503);

/// The source of a [`BodyError::Io`] that stands for a body whose SHA-256 is not the signed one.
#[derive(Debug, thiserror::Error)]
#[error("SHA-256 of the body is not the one that was signed")]
pub(crate) struct PayloadHashMismatch;

impl Refusal {
    /// A refusal with a code that S3 knows.
    pub(crate) fn new(code: (&'static str, u16), message: impl Into<Cow<'static, str>>) -> Self {
        Self(refusal(code, message))
    }

    /// `InvalidArgument`: a parameter or header that cannot be.
    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(("InvalidArgument", 400), message)
    }

    /// `InvalidRequest`: a request that contradicts itself.
    pub(crate) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(("InvalidRequest", 400), message)
    }

    /// `MalformedXML`
    pub(crate) fn malformed_xml() -> Self {
        Self::new(("MalformedXML", 400), MALFORMED_XML_TEXT)
    }

    /// `MalformedACLError`
    pub(crate) fn malformed_acl() -> Self {
        Self::new(("MalformedACLError", 400), MALFORMED_XML_TEXT)
    }

    /// What a form's file is refused for while it is read.
    pub(crate) fn from_form_body(error: &FormBodyError) -> Self {
        Self::new(forms::code_of_form_body(error), error.to_string())
    }

    /// `NotImplemented`, as S3 words it.
    pub(crate) fn not_implemented() -> Self {
        Self::new(
            ("NotImplemented", 501),
            "A header or query you provided implies functionality that is not implemented.",
        )
    }

    /// `AccessDenied`
    pub(crate) fn access_denied() -> Self {
        Self::new(("AccessDenied", 403), "Access Denied")
    }

    /// An answer for something that failed here, with the cause for the log.
    pub(crate) fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let mut error = refusal(INTERNAL, INTERNAL_TEXT);
        error.set_source(Box::new(source));
        Self(error)
    }

    /// Adds headers to the answer; its content type is lost.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.set_headers(headers);
        self
    }

    /// Whether it has that code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.0.code().as_str() == code
    }

    pub(crate) fn into_s3(self) -> S3Error {
        self.0
    }

    /// The answer, once a fault of ours is in the log, and in the notes what it is about. Whatever a request fails with behind the front passes here once.
    pub(crate) fn logged(self, notes: &Notes) -> S3Error {
        let Self(error) = self;
        let ours = error.status_code().is_some_and(|status| status.is_server_error());
        if let Some(source) = error.source().filter(|_| ours) {
            let (request_id, operation) = (&notes.request_id, notes.operation());
            tracing::error!(request_id, operation, cause = chain(source), "a request failed");
        }
        if let Some(source) = error.source().and_then(|source| source.downcast_ref()) {
            notes.set_about(members_of(source));
        }
        error
    }
}

/// An error with this code and status.
pub(crate) fn refusal((code, status): Code, message: impl Into<Cow<'static, str>>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or_else(|| S3ErrorCode::Custom(code.into()));
    let mut error = S3Error::with_message(code, message);
    error.set_status_code(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    error
}

/// The table: code and status of every error of the object store.
fn code_of(error: &ObjectsError) -> Code {
    match error {
        ObjectsError::NoSuchBucket { .. } => ("NoSuchBucket", 404),
        ObjectsError::NoSuchKey { .. } => ("NoSuchKey", 404),
        ObjectsError::NoSuchVersion { .. } => ("NoSuchVersion", 404),
        ObjectsError::IsDeleteMarker { .. } => ("MethodNotAllowed", 405),
        ObjectsError::ObjectLocked => ("AccessDenied", 403),
        ObjectsError::InvalidBucketState { .. } => ("InvalidBucketState", 409),
        ObjectsError::InvalidTag { .. } => ("InvalidTag", 400),
        ObjectsError::RetentionOver => ("InvalidArgument", 400),
        ObjectsError::InvalidRetentionPeriod { .. } => ("InvalidRetentionPeriod", 400),
        ObjectsError::NoSuchUpload { .. } => ("NoSuchUpload", 404),
        ObjectsError::BucketAlreadyExists { .. } => ("BucketAlreadyExists", 409),
        ObjectsError::BucketAlreadyOwnedByYou { .. } => ("BucketAlreadyOwnedByYou", 409),
        ObjectsError::BucketNotEmpty { .. } => ("BucketNotEmpty", 409),
        ObjectsError::PreconditionFailed {
            condition:
                Condition::IfMatch | Condition::IfNoneMatch | Condition::IfModifiedSince | Condition::IfUnmodifiedSince,
        } => ("PreconditionFailed", 412),
        ObjectsError::NotModified => ("NotModified", 304),
        ObjectsError::InvalidRange { .. } => ("InvalidRange", 416),
        ObjectsError::NoSuchPart { .. } | ObjectsError::InvalidPart { .. } => ("InvalidPart", 400),
        ObjectsError::EntityTooLarge { .. } => ("EntityTooLarge", 400),
        ObjectsError::EntityTooSmall { .. } => ("EntityTooSmall", 400),
        ObjectsError::InvalidPartOrder { .. } => ("InvalidPartOrder", 400),
        ObjectsError::MetadataTooLarge { .. } => ("MetadataTooLarge", 400),
        ObjectsError::BadDigest { .. }
        | ObjectsError::ChecksumMismatch { .. }
        | ObjectsError::OtherChecksumKind { .. } => ("BadDigest", 400),
        ObjectsError::InvalidDigest { .. } => ("InvalidDigest", 400),
        ObjectsError::IncompleteBody { .. } => ("IncompleteBody", 400),
        ObjectsError::Sha256Mismatch { .. } => ("XAmzContentSHA256Mismatch", 400),
        ObjectsError::InvalidRequest { .. }
        | ObjectsError::NoCustomerKey
        | ObjectsError::OtherCustomerKey
        | ObjectsError::NeedlessCustomerKey => ("InvalidRequest", 400),
        ObjectsError::NoMasterKeys => ("NotImplemented", 501),
        ObjectsError::Key(_) | ObjectsError::Seal(_) => INTERNAL,
        ObjectsError::Body(error) => code_of_body(error),
        ObjectsError::UploadTooSlow { .. } => ("RequestTimeout", 400),
        ObjectsError::TooMuchContention { .. } => SLOW_DOWN,
        ObjectsError::Metadata(_) | ObjectsError::Blobs(_) => match error.kind() {
            ErrorKind::Busy => SLOW_DOWN,
            ErrorKind::Full | ErrorKind::Unavailable => UNAVAILABLE,
            ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::Invalid
            | ErrorKind::Corrupt
            | ErrorKind::Internal => INTERNAL,
        },
    }
}

fn code_of_body(error: &BodyError) -> Code {
    match error {
        BodyError::BadSignature => ("SignatureDoesNotMatch", 403),
        BodyError::BadChunk { .. } => ("InvalidRequest", 400),
        BodyError::BadTrailer { .. } => ("MalformedTrailerError", 400),
        BodyError::Io(source) if is_hash_mismatch(source) => ("XAmzContentSHA256Mismatch", 400),
        BodyError::Io(source) if source.kind() == std::io::ErrorKind::TimedOut => ("RequestTimeout", 400),
        BodyError::Incomplete | BodyError::Io(_) => ("IncompleteBody", 400),
    }
}

fn is_hash_mismatch(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<PayloadHashMismatch>)
}

/// S3's own words where it has some that clients may know; our own, which say what would be right, elsewhere.
fn message_of(error: &ObjectsError, code: Code) -> Cow<'static, str> {
    match code.0 {
        "InternalError" => INTERNAL_TEXT.into(),
        "SlowDown" => "Please reduce your request rate.".into(),
        "ServiceUnavailable" if error.kind() == ErrorKind::Full => {
            "The drives are full: nothing is taken until something is deleted or drives are added.".into()
        }
        "ServiceUnavailable" => "The service is unavailable. Please retry.".into(),
        "NoSuchBucket" => "The specified bucket does not exist".into(),
        "NoSuchKey" => "The specified key does not exist.".into(),
        "NoSuchVersion" => "The specified version does not exist.".into(),
        "MethodNotAllowed" => "The specified method is not allowed against this resource.".into(),
        "AccessDenied" => "Access Denied because object protected by object lock.".into(),
        "NoSuchUpload" => NO_SUCH_UPLOAD_TEXT.into(),
        "BucketAlreadyExists" => "The requested bucket name is not available. Please select a different name and try \
                                  again."
            .into(),
        "BucketAlreadyOwnedByYou" => "Your previous request to create the named bucket succeeded and you already own \
                                      it."
        .into(),
        "BucketNotEmpty" => "The bucket you tried to delete is not empty".into(),
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold".into(),
        "RequestTimeout" => "Your body did not arrive in time.".into(),
        "InvalidRange" => "The requested range is not satisfiable".into(),
        "InvalidPartOrder" => {
            "The list of parts was not in ascending order. Parts must be ordered by part number.".into()
        }
        "XAmzContentSHA256Mismatch" => {
            "The provided 'x-amz-content-sha256' header does not match what was computed.".into()
        }
        "SignatureDoesNotMatch" => "The signature of a chunk does not match the signature we calculated.".into(),
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header.".into()
        }
        _ => sentence(error).into(),
    }
}

/// Words for the refusals that `s3s` gives without any.
pub(crate) fn words_of(code: &str) -> &'static str {
    match code {
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => MALFORMED_XML_TEXT,
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MissingRequestBodyError" => "Request body is empty.",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        }
        _ => "The request is not valid.",
    }
}

/// An error's text and its causes'.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn sentence(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let text = chain(error);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

impl From<ObjectsError> for Refusal {
    fn from(error: ObjectsError) -> Self {
        let code = code_of(&error);
        let mut answer = refusal(code, message_of(&error, code));
        if let Some(headers) = marker_headers(&error) {
            answer.set_headers(headers);
        }
        answer.set_source(Box::new(error));
        Self(answer)
    }
}

/// What answers say of a delete marker that was met.
fn marker_headers(error: &ObjectsError) -> Option<HeaderMap> {
    let (version, modified) = match error {
        ObjectsError::NoSuchKey { marker: Some(version), .. } => (version, None),
        ObjectsError::IsDeleteMarker { version, modified } => (version, Some(*modified)),
        _ => return None,
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::try_from(version.to_string()) {
        headers.insert("x-amz-version-id", version);
    }
    if let Some(modified) = modified.and_then(|modified| HeaderValue::try_from(http_date_text(modified)).ok()) {
        headers.insert(LAST_MODIFIED, modified);
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml")); // set ones replace all
    Some(headers)
}

/// What an error is about, as its XML has it beside code and message.
fn members_of(error: &ObjectsError) -> Vec<(&'static str, String)> {
    match error {
        ObjectsError::NoSuchBucket { bucket }
        | ObjectsError::BucketNotEmpty { bucket }
        | ObjectsError::BucketAlreadyExists { bucket }
        | ObjectsError::BucketAlreadyOwnedByYou { bucket } => vec![("BucketName", bucket.to_string())],
        ObjectsError::NoSuchKey { key, .. } => vec![("Key", key.to_string())],
        ObjectsError::NoSuchVersion { key, version, .. } => {
            vec![("Key", key.to_string()), ("VersionId", version.to_string())]
        }
        ObjectsError::NoSuchUpload { upload, .. } => vec![("UploadId", upload.to_string())],
        ObjectsError::InvalidRange { size_bytes } => vec![("ActualObjectSize", size_bytes.to_string())],
        ObjectsError::PreconditionFailed { condition } => vec![("Condition", condition.to_string())],
        _ => Vec::new(),
    }
}

/// Errors whose texts are answers as they stand.
macro_rules! told {
    ($($error:ty => $code:path;)*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new($code(&error), error.to_string())
            }
        }
    )*};
}

told! {
    FormError => forms::code_of_form;
    PolicyError => forms::code_of_policy;
    SignatureError => forms::code_of_form_signature;
    InvalidField => forms::code_of_field;
    CorsError => forms::code_of_cors;
    PreflightError => forms::code_of_preflight;
    LifecycleError => forms::code_of_lifecycle;
    NotificationError => forms::code_of_notification;
}

impl From<cistern_access::Error> for Refusal {
    fn from(error: cistern_access::Error) -> Self {
        match error {
            cistern_access::Error::InvalidToken => {
                return Self::new(("InvalidToken", 400), "The provided token is malformed or otherwise invalid.");
            }
            cistern_access::Error::ExpiredToken => {
                return Self::new(("ExpiredToken", 400), "The provided token has expired.");
            }
            _ => {}
        }
        let code = match error.kind() {
            cistern_access::ErrorKind::Busy => SLOW_DOWN,
            cistern_access::ErrorKind::Unavailable => UNAVAILABLE,
            cistern_access::ErrorKind::NotFound
            | cistern_access::ErrorKind::Conflict
            | cistern_access::ErrorKind::Invalid
            | cistern_access::ErrorKind::Corrupt
            | cistern_access::ErrorKind::Internal => INTERNAL,
        };
        let mut answer = refusal(code, INTERNAL_TEXT);
        answer.set_source(Box::new(error));
        Self(answer)
    }
}

impl From<CustomerKeyError> for Refusal {
    fn from(error: CustomerKeyError) -> Self {
        let code = match error {
            CustomerKeyError::OtherAlgorithm => ("InvalidEncryptionAlgorithmError", 400),
            CustomerKeyError::NoAlgorithm
            | CustomerKeyError::NoKey
            | CustomerKeyError::BadKey
            | CustomerKeyError::NoMd5
            | CustomerKeyError::OtherMd5 => ("InvalidArgument", 400),
        };
        Self::new(code, sentence(&error))
    }
}

impl From<S3Error> for Refusal {
    fn from(error: S3Error) -> Self {
        Self(error)
    }
}

impl From<cistern_types::Invalid> for Refusal {
    fn from(invalid: cistern_types::Invalid) -> Self {
        match invalid.what {
            "bucket name" => Self::new(("InvalidBucketName", 400), "The specified bucket is not valid."),
            "object key" if invalid.given.is_empty() => {
                Self::new(("UserKeyMustBeSpecified", 400), "A key must be specified.")
            }
            "object key" => Self::new(("KeyTooLongError", 400), "Your key is too long"),
            "storage class" => Self::new(
                ("InvalidStorageClass", 400),
                "The storage class you specified is not valid; use STANDARD or STANDARD_IA.",
            ),
            "version id" => Self::invalid_argument("Invalid version id specified"),
            "upload id" => Self::new(("NoSuchUpload", 404), NO_SUCH_UPLOAD_TEXT),
            _ => Self::invalid_argument(format!("{invalid}")),
        }
    }
}

#[cfg(test)]
mod tests;
