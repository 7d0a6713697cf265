//! `BucketPolicy`: what the owner of a bucket lets others do, in the policy language of AWS.
//!
//! ```text
//! text ─▶ policy/document.rs ─▶ Statement ─▶ decide(request) ─▶ Allow | Deny | Silent
//!         shape, limits          │  policy/principal.rs   who
//!                                │  policy/pattern.rs     action, resource, ${variables}
//!         policy/names.rs        │  policy/condition.rs   operators
//!         known actions, keys    ▼
//!                                is_public, reads_object_tags
//! ```
//!
//! Pure: a request comes in as values, what else it says is asked for by condition key. The engine knows no ACL, no
//! permission of a key and no public access block; whoever asks puts these together.
//!
//! A policy is refused where AWS refuses it: unknown fields, actions, condition keys and operators, since a statement
//! with a slip of the pen would otherwise be without effect, and a `Deny` must not be. Two of AWS's refusals are left
//! out: that an action fits none of its resources (`s3:PutObject` on a bucket's ARN is accepted and never matches), and
//! that a principal does not exist, since owners here exist by being named.

mod condition;
mod document;
mod names;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;

use cistern_types::BucketName;
use condition::Condition;
use pattern::Pattern;
use principal::Who;
use std::collections::BTreeMap;
use std::fmt;

/// A bucket policy as it was put. Kept as its text, parsed once.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketPolicy {
    text: Box<str>,
    statements: Box<[Statement]>,
}

/// What a policy says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, none denies it.
    Allow,
    /// A statement denies it, whatever others allow.
    Deny,
    /// No statement is about it.
    Silent,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Nobody known: the request carries no signature.
    Anonymous,
    /// The owner whose key signed the request.
    Owner {
        /// The canonical id: 64 lower-case hex digits.
        id: &'a str,
        /// The owner's name.
        name: &'a str,
    },
}

/// A request as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRequest<'a> {
    /// Who asks.
    pub principal: Principal<'a>,
    /// What for, such as `s3:GetObject`.
    pub action: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The object's key, when the action is about an object.
    pub key: Option<&'a str>,
    /// What the request says under condition keys.
    pub context: &'a dyn PolicyContext,
}

/// What a request says under condition keys.
///
/// The keys that follow from the principal are not asked for: `aws:username`, `aws:userid`, `aws:principaltype`,
/// `aws:principalarn`, `aws:principalaccount`.
pub trait PolicyContext: fmt::Debug {
    /// The values under `key`; `None` when the request has none.
    ///
    /// `key` is lower-case, as in `s3:x-amz-acl`, but what follows a `/` is as the policy has it, as in
    /// `s3:existingobjecttag/Team`.
    fn values(&self, key: &str) -> Option<Vec<String>>;
}

/// A request that says nothing.
impl PolicyContext for () {
    fn values(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

impl PolicyContext for BTreeMap<String, Vec<String>> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        self.get(key).cloned()
    }
}

/// Why a text is no policy for a bucket. The S3 code is `MalformedPolicy`, status 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is too long.
    #[error("The policy has {bytes} bytes: at most {} are allowed", BucketPolicy::BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is no JSON, or has other fields than a policy.
    #[error("The policy does not follow the policy language: {problem}")]
    Document {
        /// What is wrong, with line and column.
        problem: String,
    },
    /// The version of the language is unknown.
    #[error("The policy has the version {given:?}: use 2012-10-17 or 2008-10-17")]
    Version {
        /// What was given, cut to 128 characters.
        given: String,
    },
    /// There is no statement, or there are too many.
    #[error("The policy has {count} statements: use 1 to {}", BucketPolicy::STATEMENTS_MAX)]
    Statements {
        /// How many there are.
        count: usize,
    },
    /// Something in a statement is wrong.
    #[error("{flaw} (statement {number}, {field})")]
    Statement {
        /// Which statement, from 1.
        number: usize,
        /// Which field of it.
        field: &'static str,
        /// What is wrong.
        flaw: Flaw,
    },
}

/// What is wrong in a statement. What was given is cut to 128 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The effect is unknown.
    #[error("Invalid effect {given:?}: use Allow or Deny")]
    Effect {
        /// What was given.
        given: String,
    },
    /// A field and its negation are both there, or neither is.
    #[error("Give exactly one of {field} and Not{field}")]
    ExactlyOne {
        /// The field.
        field: &'static str,
    },
    /// A list has no or too many entries.
    #[error("The list has {count} entries: use 1 to {}", BucketPolicy::LIST_MAX)]
    Count {
        /// How many there are.
        count: usize,
    },
    /// Nobody here can be meant.
    #[error(
        "Invalid principal in policy: {given:?}; use \"*\", a canonical id of 64 hex digits, an account of 12 digits, \
         arn:aws:iam::ACCOUNT:root or arn:aws:iam::ACCOUNT:user/NAME"
    )]
    Principal {
        /// What was given.
        given: String,
    },
    /// `Allow` with `NotPrincipal` would let in everybody else.
    #[error("Policy has Allow with NotPrincipal: use NotPrincipal with Deny only")]
    AllowNotPrincipal,
    /// There is no such action.
    #[error("Policy has invalid action: {given:?}; use * or an action of S3 like s3:GetObject or s3:Get*")]
    Action {
        /// What was given.
        given: String,
    },
    /// It is not this bucket and nothing in it.
    #[error("Policy has invalid resource: {given:?}; use arn:aws:s3:::{bucket} or arn:aws:s3:::{bucket}/KEY")]
    Resource {
        /// What was given.
        given: String,
        /// The bucket that the policy is for.
        bucket: String,
    },
    /// There is no such operator.
    #[error("Invalid condition operator {given:?}: use one like StringEquals, NumericLessThanIfExists or IpAddress")]
    Operator {
        /// What was given.
        given: String,
    },
    /// There is no such condition key.
    #[error("Policy has an invalid condition key: {given:?}; use one of S3 or a global one, like s3:prefix")]
    ConditionKey {
        /// What was given.
        given: String,
    },
    /// The operator cannot compare with that.
    #[error("Invalid condition value {given:?}: use {rule}")]
    Value {
        /// What was given.
        given: String,
        /// What would be right.
        rule: &'static str,
    },
    /// A policy variable is wrong.
    #[error("Policy has an invalid variable: {problem}")]
    Variable {
        /// What is wrong.
        problem: String,
    },
}

impl PolicyError {
    /// The code that S3 answers, with status 400.
    pub const CODE: &'static str = "MalformedPolicy";
}

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    effect: Effect,
    principals: Choice<Who>,
    actions: Choice<Pattern>,
    resources: Choice<Pattern>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// One of these, or with `not` none of these.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice<T> {
    of: Vec<T>,
    not: bool,
}

impl BucketPolicy {
    /// The longest text of a policy, in bytes.
    pub const BYTES_MAX: usize = 20 * 1024;
    /// The most statements of a policy.
    pub const STATEMENTS_MAX: usize = 256;
    /// The most entries of a list in a statement.
    pub const LIST_MAX: usize = 1024;

    /// Reads the policy that is to be put on `bucket`.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, PolicyError> {
        if text.len() > Self::BYTES_MAX {
            return Err(PolicyError::TooLong { bytes: text.len() });
        }
        Ok(Self { text: text.into(), statements: document::parse(text, bucket)?.into() })
    }

    /// The text as it was put, byte for byte.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the policy says about the request.
    ///
    /// Costs at most the length of the policy times that of the longest value compared with, which is the key or what
    /// the request says under a condition key. A condition on a value longer than 4,096 bytes is not judged: an `Allow`
    /// then does not apply, a `Deny` does.
    pub fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        let scene = Scene::of(request);
        let mut decision = Decision::Silent;
        for statement in self.statements.iter().filter(|statement| statement.applies(&scene)) {
            match statement.effect {
                Effect::Deny => return Decision::Deny,
                Effect::Allow => decision = Decision::Allow,
            }
        }
        decision
    }

    /// Whether the policy is public as `GetBucketPolicyStatus` and the public access block mean it: a statement allows
    /// everybody, and no condition of it holds for fixed, trusted values only. What is denied elsewhere does not count.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            statement.effect == Effect::Allow
                && statement.principals.of.contains(&Who::Everybody)
                && !statement.conditions.iter().any(Condition::names_the_trusted)
        })
    }

    /// Whether the tags of the object must be known to decide about `action`: only then is `s3:existingobjecttag/…`
    /// asked for.
    pub fn reads_object_tags(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.statements.iter().any(|statement| {
            statement.actions.has(|pattern| pattern.could_be(&action))
                && (statement.resources.of.iter().any(Pattern::asks_existing_tag)
                    || statement.conditions.iter().any(Condition::asks_existing_tag))
        })
    }
}

impl Statement {
    /// A condition that cannot be judged keeps an `Allow` from applying and not a `Deny`.
    fn applies(&self, scene: &Scene<'_>) -> bool {
        self.actions.has(|pattern| pattern.matches(&scene.action, scene))
            && self.principals.has(|who| who.is(scene.request.principal))
            && self.resources.has(|pattern| pattern.matches(&scene.resource, scene))
            && self.conditions.iter().all(|condition| condition.holds(scene).unwrap_or(self.effect == Effect::Deny))
    }
}

impl<T> Choice<T> {
    fn has(&self, is_meant: impl Fn(&T) -> bool) -> bool {
        self.of.iter().any(is_meant) != self.not
    }
}

/// A request, made ready for comparing.
#[derive(Debug)]
struct Scene<'a> {
    request: &'a PolicyRequest<'a>,
    /// Lower-case.
    action: String,
    /// `bucket` or `bucket/key`.
    resource: String,
}

impl<'a> Scene<'a> {
    fn of(request: &'a PolicyRequest<'a>) -> Self {
        let resource = match request.key {
            None => request.bucket.to_owned(),
            Some(key) => format!("{}/{key}", request.bucket),
        };
        Self { request, action: request.action.to_ascii_lowercase(), resource }
    }

    /// What the request says under a condition key, written as [`PolicyContext::values`] has it.
    fn values(&self, key: &str) -> Option<Vec<String>> {
        let value = match (key, self.request.principal) {
            ("aws:principaltype", Principal::Anonymous) => "Anonymous".to_owned(),
            ("aws:userid", Principal::Anonymous) => "anonymous".to_owned(),
            ("aws:username" | "aws:principalarn" | "aws:principalaccount", Principal::Anonymous) => return None,
            ("aws:principaltype", Principal::Owner { .. }) => "User".to_owned(),
            ("aws:userid" | "aws:principalaccount", Principal::Owner { id, .. }) => id.to_owned(),
            ("aws:username", Principal::Owner { name, .. }) => name.to_owned(),
            ("aws:principalarn", Principal::Owner { id, name }) => format!("arn:aws:iam::{id}:user/{name}"),
            _ => return self.request.context.values(key),
        };
        Some(vec![value])
    }
}

/// A text of the policy as an error shows it.
fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}
