//! Settings out of a TOML file, each with its line.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layer::{Layer, raw_name};
use crate::error::{Error, Result};

impl Layer {
    /// The values in this file. The table `[kafka]` holds raw settings of the client, whose names may be
    /// quoted (`"linger.ms" = 0`) or not (`linger.ms = 0`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it cannot be read or is no TOML.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::config(format!("cannot read {}", path.display())).with_source(error))?;
        Self::from_toml(&text, &path.display().to_string())
    }

    pub(super) fn from_toml(text: &str, path: &str) -> Result<Self> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            Error::config(format!("{path}:{line}: {}", error.message()))
        })?;
        let mut layer = Self::new(path);
        let mut problems = Vec::new();
        for (key, value) in table.get_ref() {
            let line = line_of(text, key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("kafka", DeValue::Table(raw)) => {
                    raw_settings(&mut layer, &mut problems, text, path, "", raw);
                }
                ("kafka", _) => problems.push(format!("{path}:{line}: `kafka` is a table: write [kafka]")),
                (name, value) => match scalar(value) {
                    Some(value) => layer.put_from(name, value, format!("{path}:{line}")),
                    None if matches!(value, DeValue::Table(_)) => problems.push(format!(
                        "{path}:{line}: there is no table `{name}`; the only one is [kafka]"
                    )),
                    None => problems.push(format!("{path}:{line}: `{name}` takes a single value")),
                },
            }
        }
        if problems.is_empty() {
            return Ok(layer);
        }
        Err(Error::config(problems.join("\n  ")))
    }
}

/// `linger.ms = 0` is a table in a table for TOML, and one name for the client.
fn raw_settings(
    layer: &mut Layer,
    problems: &mut Vec<String>,
    text: &str,
    path: &str,
    prefix: &str,
    table: &DeTable<'_>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let line = line_of(text, key.span().start);
        match (value.get_ref(), scalar(value.get_ref())) {
            (DeValue::Table(inner), _) => {
                raw_settings(layer, problems, text, path, &format!("{name}."), inner);
            }
            (_, Some(value)) => layer.put_from(raw_name(&name), value, format!("{path}:{line}")),
            (_, None) => problems.push(format!("{path}:{line}: `{name}` takes a single value")),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, position: usize) -> usize {
    let before = text.get(..position).unwrap_or(text);
    before.matches('\n').count() + 1
}
