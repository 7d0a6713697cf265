//! The part of the table that is about browser forms, CORS, lifecycle rules and notifications: code and status of each
//! of their errors. Their texts are the messages.

use super::Code;
use crate::cors::{CorsError, PreflightError};
use crate::form::{FormBodyError, FormError, InvalidField, PolicyError, SignatureError};
use crate::lifecycle::LifecycleError;
use crate::notification::NotificationError;

const MALFORMED_FORM: Code = ("MalformedPOSTRequest", 400);
const INVALID_ARGUMENT: Code = ("InvalidArgument", 400);
const INVALID_REQUEST: Code = ("InvalidRequest", 400);
const MALFORMED_XML: Code = ("MalformedXML", 400);
const TOO_LARGE: Code = ("MaxMessageLengthExceeded", 400);

pub(crate) fn code_of_form(error: &FormError) -> Code {
    match error {
        FormError::NotAForm => ("PreconditionFailed", 412),
        FormError::Malformed { .. } => MALFORMED_FORM,
        FormError::FieldsTooLarge | FormError::TooManyFields => ("MaxPostPreDataLengthExceeded", 400),
        FormError::FieldTwice { .. } | FormError::MissingFile | FormError::MissingKey => INVALID_ARGUMENT,
        FormError::EmptyKey => ("UserKeyMustBeSpecified", 400),
        FormError::Body(_) => ("IncompleteBody", 400),
    }
}

pub(crate) fn code_of_form_body(error: &FormBodyError) -> Code {
    match error {
        FormBodyError::EndedEarly | FormBodyError::Malformed | FormBodyError::TooMuchAfterFile => MALFORMED_FORM,
        FormBodyError::TooLarge { .. } => ("EntityTooLarge", 400),
        FormBodyError::TooSmall { .. } => ("EntityTooSmall", 400),
        FormBodyError::Body(_) => ("IncompleteBody", 400),
    }
}

pub(crate) fn code_of_policy(error: &PolicyError) -> Code {
    match error {
        PolicyError::Expired | PolicyError::ConditionFailed { .. } | PolicyError::ExtraField { .. } => {
            ("AccessDenied", 403)
        }
        PolicyError::NotBase64
        | PolicyError::InvalidJson { .. }
        | PolicyError::MissingExpiration
        | PolicyError::InvalidExpiration
        | PolicyError::MissingConditions
        | PolicyError::TooManyConditions
        | PolicyError::InvalidCondition { .. }
        | PolicyError::UnknownOperator { .. } => ("InvalidPolicyDocument", 400),
    }
}

pub(crate) fn code_of_form_signature(error: &SignatureError) -> Code {
    match error {
        SignatureError::MissingField { .. } | SignatureError::TwoSignatures | SignatureError::InvalidField { .. } => {
            INVALID_ARGUMENT
        }
    }
}

pub(crate) fn code_of_field(_: &InvalidField) -> Code {
    INVALID_ARGUMENT
}

pub(crate) fn code_of_cors(error: &CorsError) -> Code {
    match error {
        CorsError::NoRules | CorsError::Empty { .. } => MALFORMED_XML,
        CorsError::TooLarge => TOO_LARGE,
        CorsError::TooManyRules
        | CorsError::IdTooLong
        | CorsError::IdTwice { .. }
        | CorsError::UnsupportedMethod { .. }
        | CorsError::TwoWildcards { .. }
        | CorsError::NotAnOrigin { .. }
        | CorsError::ExposeWildcard { .. }
        | CorsError::InvalidExposeHeader { .. } => INVALID_REQUEST,
    }
}

pub(crate) fn code_of_preflight(error: &PreflightError) -> Code {
    match error {
        PreflightError::MissingOrigin | PreflightError::InvalidMethod { .. } => ("BadRequest", 400),
        PreflightError::NotEnabled | PreflightError::NotAllowed => ("AccessForbidden", 403),
    }
}

pub(crate) fn code_of_lifecycle(error: &LifecycleError) -> Code {
    match error {
        LifecycleError::NoRules
        | LifecycleError::InvalidStatus
        | LifecycleError::NoFilter
        | LifecycleError::EmptyAnd
        | LifecycleError::NotOneOf { .. }
        | LifecycleError::Missing { .. }
        | LifecycleError::NoTarget { .. } => MALFORMED_XML,
        LifecycleError::TooLarge => TOO_LARGE,
        LifecycleError::InvalidTag { .. } => ("InvalidTag", 400),
        LifecycleError::IdTooLong
        | LifecycleError::IdTwice
        | LifecycleError::NegativeSize { .. }
        | LifecycleError::NotPositive { .. }
        | LifecycleError::NotMidnight
        | LifecycleError::NoSuchClass { .. }
        | LifecycleError::NewerVersions { .. } => INVALID_ARGUMENT,
        LifecycleError::TooManyRules
        | LifecycleError::PrefixTooLong
        | LifecycleError::NoSizeBetween
        | LifecycleError::NoAction
        | LifecycleError::ClassTwice { .. }
        | LifecycleError::NeedsPlainFilter { .. } => INVALID_REQUEST,
    }
}

pub(crate) fn code_of_notification(error: &NotificationError) -> Code {
    match error {
        NotificationError::NoEvents | NotificationError::EmptyFilter => MALFORMED_XML,
        NotificationError::TooMany
        | NotificationError::IdTooLong
        | NotificationError::IdTwice
        | NotificationError::UnknownEvent
        | NotificationError::UnknownFilter
        | NotificationError::FilterTwice { .. }
        | NotificationError::FilterTooLong
        | NotificationError::NoDestination => INVALID_ARGUMENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_clients_know() {
        let value = || "*".to_owned();
        for (code, expected) in [
            (code_of_form(&FormError::NotAForm), "PreconditionFailed 412"),
            (code_of_form(&FormError::FieldsTooLarge), "MaxPostPreDataLengthExceeded 400"),
            (code_of_form(&FormError::EmptyKey), "UserKeyMustBeSpecified 400"),
            (code_of_form_body(&FormBodyError::EndedEarly), "MalformedPOSTRequest 400"),
            (code_of_policy(&PolicyError::MissingConditions), "InvalidPolicyDocument 400"),
            (code_of_field(&InvalidField { name: value() }), "InvalidArgument 400"),
            (code_of_cors(&CorsError::NoRules), "MalformedXML 400"),
            (code_of_cors(&CorsError::TooLarge), "MaxMessageLengthExceeded 400"),
            (code_of_cors(&CorsError::ExposeWildcard { value: value() }), "InvalidRequest 400"),
            (code_of_preflight(&PreflightError::MissingOrigin), "BadRequest 400"),
            (code_of_preflight(&PreflightError::InvalidMethod { method: value() }), "BadRequest 400"),
            (code_of_preflight(&PreflightError::NotEnabled), "AccessForbidden 403"),
            (code_of_preflight(&PreflightError::NotAllowed), "AccessForbidden 403"),
            (code_of_lifecycle(&LifecycleError::InvalidStatus), "MalformedXML 400"),
            (code_of_lifecycle(&LifecycleError::NoTarget { class: value() }), "MalformedXML 400"),
            (code_of_lifecycle(&LifecycleError::NoSuchClass { class: value() }), "InvalidArgument 400"),
            (code_of_lifecycle(&LifecycleError::IdTwice), "InvalidArgument 400"),
            (code_of_lifecycle(&LifecycleError::TooManyRules), "InvalidRequest 400"),
            (code_of_lifecycle(&LifecycleError::NoAction), "InvalidRequest 400"),
            (code_of_lifecycle(&LifecycleError::TooLarge), "MaxMessageLengthExceeded 400"),
            (code_of_lifecycle(&LifecycleError::InvalidTag { reason: value() }), "InvalidTag 400"),
            (code_of_notification(&NotificationError::NoDestination), "InvalidArgument 400"),
            (code_of_notification(&NotificationError::NoEvents), "MalformedXML 400"),
        ] {
            assert_eq!(format!("{} {}", code.0, code.1), expected);
        }
    }
}
