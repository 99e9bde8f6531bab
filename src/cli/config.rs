//! `lbm config`: the settings in force, and where each comes from.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::GlobalArgs;
use super::error::{CliError, Outcome};
use super::output::{self, Render};
use super::text::Table;
use crate::config::{Environment, Flags, SettingRow, Settings, data_folder};

/// Arguments of `lbm config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ConfigArgs {
    /// Settings file [default: config.toml in the data folder]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Answer of `lbm config`.
#[derive(Debug, Serialize)]
pub struct ConfigOutput {
    /// The data folder.
    pub data: String,
    /// Where the data folder's name comes from.
    pub data_origin: String,
    /// Every setting.
    pub settings: Vec<SettingRow>,
}

impl Render for ConfigOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
        table.row(["data", &self.data, &self.data_origin]);
        for row in &self.settings {
            table.row([row.key, &value(&row.value), &row.origin]);
        }
        table.write(out)
    }
}

fn value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.is_empty() => "-".to_owned(),
        serde_json::Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Prints the settings that a daemon would start with here.
///
/// # Errors
/// Where they cannot be used, or the answer cannot be written.
pub fn run(
    args: &ConfigArgs,
    global: &GlobalArgs,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    let data = data_folder(global.data.clone(), environment)?;
    let flags = Flags { config: args.config.clone(), ..Flags::default() };
    let settings = Settings::load(&data.value, flags, environment)?.rows();
    let answer =
        ConfigOutput { data: data.value.display().to_string(), data_origin: data.origin.to_string(), settings };
    output::print(&answer, global.json, out)?;
    Ok(Outcome::Done)
}
