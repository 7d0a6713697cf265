//! `RawConfig`: settings as somebody wrote them, each with who did; layers are laid over each other here.

use super::settings::{self, ENVIRONMENT_PREFIX, Kind, SETTINGS};
use super::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Names in the environment that an orchestrator makes for a service called `cistern`; they are no settings.
const SERVICE_LINK_PREFIXES: [&str; 2] = ["CISTERN_SERVICE_", "CISTERN_PORT"];

/// Who wrote a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody.
    Default,
    /// A file.
    File(String),
    /// The environment, by this name.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(path),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value before anyone has understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// One text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

impl Value {
    /// As a list; a single text is cut at its commas.
    pub(super) fn to_list(&self) -> Vec<String> {
        match self {
            Self::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Self::List(items) => items.clone(),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(","),
        }
    }
}

/// A value and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The value.
    pub(super) value: Value,
    /// Who wrote it.
    pub(super) origin: Origin,
}

impl Written {
    /// The error that this value is not right.
    pub(super) fn refused(&self, key: &'static str, reason: impl Display) -> Error {
        Error::Value { key, origin: self.origin.clone(), reason: reason.to_string() }
    }
}

/// One layer of settings, or several laid over each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RawConfig {
    values: BTreeMap<&'static str, Written>,
}

impl RawConfig {
    /// The defaults.
    pub(crate) fn defaults() -> Self {
        let mut raw = Self::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                raw.set(setting.key, Value::Text(default.into()), Origin::Default);
            }
        }
        raw
    }

    /// The settings of a TOML file; `path` is for messages.
    pub(crate) fn from_toml(text: &str, path: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            Error::Syntax { path: path.into(), reason: format!("line {line}: {}", error.message()) }
        })?;
        let mut raw = Self::default();
        raw.take_table(&table, "", path)?;
        Ok(raw)
    }

    fn take_table(&mut self, table: &toml::Table, above: &str, path: &str) -> Result<()> {
        for (name, value) in table {
            let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            if let toml::Value::Table(inner) = value {
                let is_table = SETTINGS.iter().any(|setting| setting.key.starts_with(&format!("{key}.")));
                if is_table {
                    self.take_table(inner, &key, path)?;
                    continue;
                }
            }
            let Some(setting) = settings::find(&key) else {
                let known = SETTINGS.iter().map(|setting| setting.key.to_owned());
                let nearest = settings::nearest(&key, known);
                return Err(Error::UnknownKey { given: key, place: path.into(), nearest });
            };
            let origin = Origin::File(path.into());
            let refuse =
                |reason: &str| Err(Error::Value { key: setting.key, origin: origin.clone(), reason: reason.into() });
            let value = match (value, setting.kind) {
                (toml::Value::Array(items), Kind::List) => {
                    let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(Into::into)).collect();
                    match texts {
                        Some(texts) => Value::List(texts),
                        None => return refuse("use a list of texts"),
                    }
                }
                (toml::Value::String(text), _) => Value::Text(text.clone()),
                (toml::Value::Integer(number), _) => Value::Text(number.to_string()),
                (toml::Value::Boolean(flag), Kind::Flag) => Value::Text(flag.to_string()),
                _ => return refuse("use a text or a number"),
            };
            self.set(setting.key, value, origin);
        }
        Ok(())
    }

    /// The settings among `variables`, names and values of an environment.
    pub(crate) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let mut raw = Self::default();
        for (name, value) in variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)) {
            if SERVICE_LINK_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.environment_name() == name) else {
                let nearest = settings::nearest(&name, SETTINGS.iter().map(settings::Setting::environment_name));
                return Err(Error::UnknownKey { given: name, place: "the environment".into(), nearest });
            };
            raw.set(setting.key, Value::Text(value), Origin::Environment(name));
        }
        Ok(raw)
    }

    /// Sets one value.
    ///
    /// # Panics
    /// When there is no such setting.
    pub(crate) fn set(&mut self, key: &str, value: Value, origin: Origin) {
        let setting = settings::find(key).expect("callers name settings that exist");
        self.values.insert(setting.key, Written { value, origin });
    }

    /// This layer with `over` laid on top.
    #[must_use]
    pub(crate) fn under(mut self, over: Self) -> Self {
        self.values.extend(over.values);
        self
    }

    pub(super) fn get(&self, key: &str) -> Option<&Written> {
        self.values.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|written| written.value.to_text())
    }

    /// Understands a value that may be missing.
    pub(super) fn parse_optional<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>> {
        let Some(written) = self.get(key) else { return Ok(None) };
        parse(&written.value.to_text()).map(Some).map_err(|reason| written.refused(key, reason))
    }

    /// Understands a value that is always there.
    pub(super) fn parse_with<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T> {
        Ok(self.parse_optional(key, parse)?.expect("only called for settings with a default or a value"))
    }

    /// The keys somebody set that have no effect in this version.
    pub(super) fn without_effect(&self) -> Vec<&'static str> {
        let set = self.values.keys().filter_map(|key| settings::find(key));
        set.filter(|setting| setting.kind == Kind::WithoutEffect).map(|setting| setting.key).collect()
    }
}
