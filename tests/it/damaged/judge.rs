//! Whether a request was answered as it may be.

use super::exchange::{Answer, End, LIMIT};
use super::request::{Door, Request};

/// Queries and headers of what is answered with 501, see `docs/s3-compatibility.md`.
const REFUSED: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadata",
    "metrics",
    "notification",
    "object-lock",
    "ownershipcontrols",
    "partnumber",
    "policy",
    "policystatus",
    "position",
    "publicaccessblock",
    "renameobject",
    "replication",
    "requestpayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadid",
    "uploads",
    "versioning",
    "versions",
    "website",
];
const REFUSED_HEADERS: &[&str] = &[
    "x-amz-mfa",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    "aws:kms",
    "x-amz-server-side-encryption",
];

/// What is wrong with how a request was answered.
pub(super) fn judge(request: &Request, sent: &[u8], end: &End) -> Result<(), String> {
    let answer = match end {
        End::Answered(answer) => answer,
        End::Closed => return Ok(()),
        End::Silent => return Err(format!("neither answered nor closed within {} s", LIMIT.as_secs())),
        End::Broken(what) => return Err(what.clone()),
        End::NoServer => return Err("the server is gone".to_owned()),
    };
    let code = code_of(answer);
    let documented = match answer.status {
        501 => request.door == Door::S3 && is_refused(sent),
        // the drives of a test take everything; only a server that stops says so, and /readyz of one that starts
        503 => false,
        status => status < 500,
    };
    if !documented || code == "InternalError" {
        return Err(format!("answered {} {code}", answer.status));
    }
    if request.door == Door::S3 && answer.status >= 400 && !answer.body.is_empty() && code.is_empty() {
        return Err(format!("answered {} with a body that names no code", answer.status));
    }
    Ok(())
}

/// What faults are told apart by: what the request was, or its method alone where that is not implemented.
pub(super) fn kind_of(request: &Request, sent: &[u8], end: &End) -> String {
    if matches!(end, End::Answered(answer) if answer.status == 501) {
        let method = sent.trim_ascii_start().split(|byte| *byte == b' ').next().unwrap_or_default();
        let known = [b"GET".as_slice(), b"PUT", b"POST", b"DELETE", b"HEAD"].contains(&method);
        return format!(
            "{} at {:?}",
            if known { String::from_utf8_lossy(method) } else { "another method".into() },
            request.door
        );
    }
    request.what.split(" | ").next().unwrap_or_default().to_owned()
}

/// The code in an answer of S3, `""` where there is none.
pub(super) fn code_of(answer: &Answer) -> String {
    let text = answer.text();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map(|(code, _)| code.to_owned()).unwrap_or_default()
}

fn is_refused(sent: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sent).to_ascii_lowercase();
    let line = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let names = line.split(['?', '&', ' ', '#']).map(|pair| pair.split('=').next().unwrap_or_default());
    names.into_iter().any(|name| REFUSED.contains(&name) || name.starts_with("metadata"))
        || REFUSED_HEADERS.iter().any(|name| text.contains(name))
}
