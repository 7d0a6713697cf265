//! The part of the table that is about browser forms and CORS: code and status of each of their errors. Their texts are
//! the messages.

use super::Code;
use crate::cors::{CorsError, PreflightError};
use crate::form::{FormBodyError, FormError, InvalidField, PolicyError, SignatureError};

const MALFORMED_FORM: Code = ("MalformedPOSTRequest", 400);
const INVALID_ARGUMENT: Code = ("InvalidArgument", 400);
const INVALID_REQUEST: Code = ("InvalidRequest", 400);

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
        CorsError::NoRules | CorsError::Empty { .. } => ("MalformedXML", 400),
        CorsError::TooLarge => ("MaxMessageLengthExceeded", 400),
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
        ] {
            assert_eq!(format!("{} {}", code.0, code.1), expected);
        }
    }
}
