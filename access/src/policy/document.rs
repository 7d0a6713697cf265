//! Reads the text of a policy: its JSON shape by `serde`, then what the fields say.
//!
//! The shape is strict: no unknown fields, no field twice, and no deeper nesting than the language has, since every
//! level is a type of its own.

use super::condition::Condition;
use super::names::means_an_action;
use super::pattern::{Pattern, Signs};
use super::principal::Who;
use super::{BucketPolicy, Choice, Effect, Flaw, PolicyError, Statement, shown};
use cistern_types::BucketName;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The version of the language with policy variables.
const VERSION_WITH_VARIABLES: &str = "2012-10-17";
/// The version before, which a policy without one has.
const VERSION_BEFORE: &str = "2008-10-17";

/// What every resource begins with.
const ARN_PREFIX: &str = "arn:aws:s3:::";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", expecting = "an object with Version and Statement")]
struct Document {
    #[serde(default = "version_before")]
    version: String,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    statement: Many<Draft>,
}

fn version_before() -> String {
    VERSION_BEFORE.into()
}

/// A statement as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", expecting = "a statement, which is an object")]
struct Draft {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    effect: String,
    principal: Option<Principals>,
    not_principal: Option<Principals>,
    action: Option<Many<String>>,
    not_action: Option<Many<String>>,
    resource: Option<Many<String>>,
    not_resource: Option<Many<String>>,
    #[serde(default)]
    condition: Fields<Fields<Many<Value>>>,
}

/// Reads the statements of a policy for `bucket`.
pub(super) fn parse(text: &str, bucket: &BucketName) -> Result<Vec<Statement>, PolicyError> {
    let document: One<Document> =
        serde_json::from_str(text).map_err(|error| PolicyError::Document { problem: error.to_string() })?;
    let Document { version, statement: Many(drafts), .. } = document.0;
    let variables = match version.as_str() {
        VERSION_WITH_VARIABLES => true,
        VERSION_BEFORE => false,
        _ => return Err(PolicyError::Version { given: shown(&version) }),
    };
    if !(1..=BucketPolicy::STATEMENTS_MAX).contains(&drafts.len()) {
        return Err(PolicyError::Statements { count: drafts.len() });
    }
    let numbered = drafts.into_iter().zip(1..);
    let reader = Reader { bucket, variables };
    numbered
        .map(|(draft, number)| {
            reader.statement(draft).map_err(|(field, flaw)| PolicyError::Statement { number, field, flaw })
        })
        .collect()
}

/// What reading a statement needs to know besides the statement.
struct Reader<'a> {
    bucket: &'a BucketName,
    variables: bool,
}

impl Reader<'_> {
    fn statement(&self, draft: Draft) -> Result<Statement, (&'static str, Flaw)> {
        let effect = match draft.effect.as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => return Err(("Effect", Flaw::Effect { given: shown(other) })),
        };
        let (principals, not, field) =
            exactly_one(["Principal", "NotPrincipal"], draft.principal, draft.not_principal)?;
        if effect == Effect::Allow && not {
            return Err((field, Flaw::AllowNotPrincipal));
        }
        let principals = Choice { of: principals.read().map_err(|flaw| (field, flaw))?, not };
        let (Many(actions), not, field) = exactly_one(["Action", "NotAction"], draft.action, draft.not_action)?;
        let of = read_all(&actions, action).map_err(|flaw| (field, flaw))?;
        let actions = Choice { of, not };
        let (Many(resources), not, field) =
            exactly_one(["Resource", "NotResource"], draft.resource, draft.not_resource)?;
        let of = read_all(&resources, |text| self.resource(text)).map_err(|flaw| (field, flaw))?;
        let resources = Choice { of, not };
        let conditions = self.conditions(draft.condition).map_err(|flaw| ("Condition", flaw))?;
        Ok(Statement { effect, principals, actions, resources, conditions })
    }

    /// The ARN of this bucket or of keys in it. The name of the bucket may come out of wildcards.
    fn resource(&self, text: &str) -> Result<Pattern, Flaw> {
        let bucket = self.bucket.as_str();
        let flaw = || Flaw::Resource { given: shown(text), bucket: bucket.into() };
        let path = text.strip_prefix(ARN_PREFIX).ok_or_else(flaw)?;
        let signs = Signs { wildcards: true, variables: self.variables };
        let pattern = Pattern::parse(path, signs).map_err(|problem| Flaw::Variable { problem })?;
        if pattern.could_be(bucket) || pattern.could_begin_with(&format!("{bucket}/")) {
            Ok(pattern)
        } else {
            Err(flaw())
        }
    }

    fn conditions(&self, Fields(operators): Fields<Fields<Many<Value>>>) -> Result<Vec<Condition>, Flaw> {
        let mut conditions = Vec::new();
        for (operator, Fields(keys)) in operators {
            check_count(keys.len())?;
            for (key, Many(values)) in keys {
                check_count(values.len())?;
                let values: Vec<String> = values.into_iter().map(|Value(text)| text).collect();
                conditions.push(Condition::parse(&operator, &key, &values, self.variables)?);
            }
        }
        Ok(conditions)
    }
}

/// The one that is there, whether it is the negated one, and its name.
fn exactly_one<T>(
    [plain_name, not_name]: [&'static str; 2],
    plain: Option<T>,
    not: Option<T>,
) -> Result<(T, bool, &'static str), (&'static str, Flaw)> {
    match (plain, not) {
        (Some(plain), None) => Ok((plain, false, plain_name)),
        (None, Some(not)) => Ok((not, true, not_name)),
        _ => Err((plain_name, Flaw::ExactlyOne { field: plain_name })),
    }
}

fn read_all<T>(texts: &[String], read: impl Fn(&str) -> Result<T, Flaw>) -> Result<Vec<T>, Flaw> {
    check_count(texts.len())?;
    texts.iter().map(|text| read(text)).collect()
}

/// `*`, or `s3:` and the name of an action with wildcards, in any case.
fn action(text: &str) -> Result<Pattern, Flaw> {
    let flaw = || Flaw::Action { given: shown(text) };
    let lower = text.to_ascii_lowercase();
    if lower != "*" && !lower.starts_with("s3:") {
        return Err(flaw());
    }
    let pattern = Pattern::parse(&lower, Signs { wildcards: true, variables: false }).map_err(|_| flaw())?;
    if means_an_action(&pattern) { Ok(pattern) } else { Err(flaw()) }
}

fn check_count(count: usize) -> Result<(), Flaw> {
    if (1..=BucketPolicy::LIST_MAX).contains(&count) { Ok(()) } else { Err(Flaw::Count { count }) }
}

/// `"*"`, or kinds of principals with their names.
enum Principals {
    Text(String),
    Kinds(Fields<Many<String>>),
}

impl Principals {
    fn read(self) -> Result<Vec<Who>, Flaw> {
        let kinds = match self {
            Self::Text(text) if text == "*" => return Ok(vec![Who::Everybody]),
            Self::Text(text) => return Err(Flaw::Principal { given: shown(&text) }),
            Self::Kinds(Fields(kinds)) => kinds,
        };
        check_count(kinds.len())?;
        let mut all = Vec::new();
        for (kind, Many(names)) in kinds {
            check_count(names.len())?;
            let read = match kind.as_str() {
                "AWS" => Who::aws,
                "CanonicalUser" => Who::canonical,
                "Service" => Who::service,
                _ => return Err(Flaw::Principal { given: shown(&kind) }),
            };
            for name in names {
                all.push(read(&name)?);
            }
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Principals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Principals;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\" or an object like {\"AWS\": \"*\"}")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Principals, E> {
                Ok(Principals::Text(text.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Principals, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(Principals::Kinds)
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

/// The value of a condition as text: a string, a number or a boolean.
struct Value(String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl Visitor<'_> for Reading {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(text.into()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
                Ok(Value(value.to_string()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
                Ok(Value(value.to_string()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
                Ok(Value(value.to_string()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
                Ok(Value(value.to_string()))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

/// An object with free names, each of which comes once.
struct Fields<T>(Vec<(String, T)>);

impl<T> Default for Fields<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
            type Value = Fields<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<T>, A::Error> {
                let mut fields: Vec<(String, T)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.len() == BucketPolicy::LIST_MAX {
                        return Err(A::Error::custom(format_args!("more than {} fields", BucketPolicy::LIST_MAX)));
                    }
                    if fields.iter().any(|(own, _)| *own == name) {
                        return Err(A::Error::custom(format_args!("duplicate field {:?}", shown(&name))));
                    }
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reading(PhantomData))
    }
}

/// One `T`, never as a list of its fields, which derived types would take for an object.
struct One<T>(T);

/// One `T` or a list of them.
struct Many<T>(Vec<T>);

/// Reads one item, or with `list` also a list of items.
struct Items<T> {
    list: bool,
    item: PhantomData<T>,
}

impl<T> Items<T> {
    fn new(list: bool) -> Self {
        Self { list, item: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.list { "a value or a list of values" } else { "a value, not a list" })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(text.into_deserializer()).map(|item| vec![item])
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<T>, E> {
        T::deserialize(value.into_deserializer()).map(|item| vec![item])
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Vec<T>, E> {
        T::deserialize(value.into_deserializer()).map(|item| vec![item])
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<T>, E> {
        T::deserialize(value.into_deserializer()).map(|item| vec![item])
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Vec<T>, E> {
        T::deserialize(value.into_deserializer()).map(|item| vec![item])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|item| vec![item])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        if !self.list {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let mut items = Vec::new();
        while let Some(One(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = deserializer.deserialize_any(Items::new(false))?;
        items.into_iter().next().map(Self).ok_or_else(|| D::Error::custom("a value is missing"))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items::new(true)).map(Self)
    }
}
