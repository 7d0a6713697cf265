//! `cistern config`: check or show what `cistern serve` with the same flags would get.

use super::Format;
use super::answer::{say, say_json};
use super::serve::ServeArgs;
use crate::config::{self, Config, RawConfig, shown, to_toml};
use crate::wiring;
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration without starting anything
    Check(ServeArgs),
    /// Print the merged configuration with the origin of each value, secrets masked
    Show(ServeArgs),
}

impl ConfigCommand {
    pub(super) fn run(
        self,
        layers: &dyn Fn(RawConfig) -> config::Result<RawConfig>,
        format: Format,
    ) -> anyhow::Result<()> {
        match self {
            Self::Check(arguments) => {
                let config = Config::new(&layers(arguments.to_raw())?)?;
                wiring::check(&config)?;
                match format {
                    Format::Json => say_json(&json!({ "ok": true, "without_effect": config.without_effect })),
                    Format::Human => {
                        say("the configuration is fine")?;
                        for key in config.without_effect {
                            say(&format!("note: {key} has no effect in this version"))?;
                        }
                        Ok(())
                    }
                }
            }
            Self::Show(arguments) => {
                let raw = layers(arguments.to_raw())?;
                match format {
                    Format::Json => say_json(&shown(&raw)),
                    Format::Human => say(to_toml(&shown(&raw)).trim_end()),
                }
            }
        }
    }
}
