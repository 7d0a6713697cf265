//! `cistern config show`: the merged settings with their origins, secrets masked.

use super::raw::{RawConfig, Value};
use super::settings::{Kind, SETTINGS, Setting};
use serde::Serialize;
use std::fmt::Write as _;

/// What stands for a secret.
const MASK: &str = "***";

/// One setting as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// Its key.
    pub(crate) key: &'static str,
    /// Its value, masked when it is a secret; `None` when nobody set it and it has no fixed default.
    pub(crate) value: Option<ShownValue>,
    /// Who set it.
    pub(crate) origin: String,
    /// Its environment name.
    pub(crate) environment: String,
    /// What it means.
    pub(crate) meaning: &'static str,
}

/// A text, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ShownValue {
    /// One.
    Text(String),
    /// Several.
    List(Vec<String>),
}

/// Every setting as it is in force.
pub(crate) fn shown(raw: &RawConfig) -> Vec<Shown> {
    SETTINGS.iter().map(|setting| show(setting, raw)).collect()
}

fn show(setting: &Setting, raw: &RawConfig) -> Shown {
    let written = raw.get(setting.key);
    let value = written.map(|written| match (setting.kind, &written.value) {
        (Kind::Secret, _) => ShownValue::Text(MASK.into()),
        (Kind::List, value) => ShownValue::List(value.to_list()),
        (_, Value::Text(text)) => ShownValue::Text(text.clone()),
        (_, Value::List(items)) => ShownValue::List(items.clone()),
    });
    Shown {
        key: setting.key,
        value,
        origin: written.map_or_else(|| "not set".into(), |written| written.origin.to_string()),
        environment: setting.environment_name(),
        meaning: setting.meaning,
    }
}

/// The settings as a TOML file that says the same, with the origin behind each; unset ones are comments.
pub(crate) fn to_toml(settings: &[Shown]) -> String {
    let mut text = String::new();
    let mut table = "";
    for setting in settings {
        let (above, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if above != table {
            table = above;
            writeln!(text, "\n[{table}]").expect("writing to a String");
        }
        let line = match &setting.value {
            None => format!("# {name} = {}", setting.meaning),
            Some(ShownValue::Text(value)) => format!("{name} = {}  # {}", quoted(value), setting.origin),
            Some(ShownValue::List(values)) => {
                let items: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                format!("{name} = [{}]  # {}", items.join(", "), setting.origin)
            }
        };
        writeln!(text, "{line}").expect("writing to a String");
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}
