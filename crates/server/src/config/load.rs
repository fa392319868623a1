//! Layers of configuration: default < file < environment < flags; a key that nobody knows is an error in each.

use super::{Config, ConfigError};
use ferry_objects::StoreSettings;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::path::Path;

/// What the variables of the environment begin with.
pub(super) const ENVIRONMENT_PREFIX: &str = "FERRY_";
/// One slip in this many letters is a typo; more make another word.
const LETTERS_PER_TYPO: usize = 4;

/// What the command line sets: key (with dots between tables) and value, as they would be in the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<(String, String)>);

impl Overrides {
    /// Nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key where the flag was given.
    #[must_use]
    pub fn with(mut self, key: &str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (key.to_owned(), value.to_string())));
        self
    }
}

/// One value and where it comes from.
struct Setting {
    origin: String,
    key: String,
    value: Value,
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::default(&self.key, &self.value).data()
    }
}

/// A file's text under the file's name.
struct File<'a> {
    path: &'a Path,
    text: String,
}

impl Provider for File<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.path.display().to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

/// The layers put together, not yet checked.
pub(super) fn layered(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Config, ConfigError> {
    let known = known_keys();
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        figment = figment.merge(File { path, text });
    }
    for (name, value) in environment {
        if let Some(key) = environment_key(&name, &known)? {
            figment = figment.merge(setting(format!("environment variable {name}"), key, &value));
        }
    }
    for (key, value) in &flags.0 {
        figment = figment.merge(setting(format!("flag --{}", key.replace('.', "-")), key.clone(), value));
    }
    figment.extract().map_err(|error| translated(error, &known))
}

fn setting(origin: String, key: String, text: &str) -> Setting {
    let value = text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
    Setting { origin, key, value }
}

/// Every key there is, with dots between tables.
fn known_keys() -> Vec<String> {
    fn flatten(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
        for (name, value) in table {
            match value {
                toml::Value::Table(table) => flatten(&format!("{prefix}{name}."), table, keys),
                _ => keys.push(format!("{prefix}{name}")),
            }
        }
    }
    let mut keys = Vec::new();
    if let Ok(table) = toml::Table::try_from(Config::default()) {
        flatten("", &table, &mut keys);
    }
    keys
}

/// Keys of a store's table have the store's name before them, which nobody else knows.
fn nearest_of_store(key: &str) -> Option<String> {
    let (name, key) = key.strip_prefix("stores.")?.split_once('.')?;
    let known = StoreSettings::KEYS.iter().map(|known| (*known).to_owned());
    nearest(key, known).map(|key| format!("stores.{name}.{key}"))
}

fn environment_name(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace(['.', '-'], "_").to_uppercase())
}

/// The key a variable sets. Other commands share the prefix, so only one that looks like a typo is an error.
fn environment_key(name: &str, known: &[String]) -> Result<Option<String>, ConfigError> {
    if let Some(key) = known.iter().find(|key| environment_name(key) == name) {
        return Ok(Some(key.clone()));
    }
    let own_part = |name: &str| name.trim_start_matches(ENVIRONMENT_PREFIX).to_owned();
    match nearest(&own_part(name), known.iter().map(|key| own_part(&environment_name(key)))) {
        Some(meant) => Err(ConfigError::UnknownKey {
            origin: "environment".into(),
            key: name.to_owned(),
            hint: format!(", did you mean `{ENVIRONMENT_PREFIX}{meant}`?"),
        }),
        None => Ok(None),
    }
}

fn translated(error: figment::Error, known: &[String]) -> ConfigError {
    let origin = error.metadata.as_ref().map_or_else(|| "configuration".to_owned(), |data| data.name.to_string());
    let path = error.path.join(".");
    match error.kind {
        Kind::UnknownField(field, _) => {
            let key = full_key(path, &field);
            let meant = nearest_of_store(&key).or_else(|| nearest(&key, known.iter().cloned()));
            let meant = meant.or_else(|| same_name(&field, known));
            let hint = meant.map(|key| format!(", did you mean `{key}`?")).unwrap_or_default();
            ConfigError::UnknownKey { origin, key, hint }
        }
        kind => {
            let key = if path.is_empty() { path } else { format!("`{path}`: ") };
            ConfigError::Malformed { origin, key, reason: kind.to_string() }
        }
    }
}

/// The path of an unknown field, whether or not the error's path names the field itself.
fn full_key(path: String, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else if path == field || path.ends_with(&format!(".{field}")) {
        path
    } else {
        format!("{path}.{field}")
    }
}

fn nearest(written: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|key| (strsim::damerau_levenshtein(written, &key), key))
        .filter(|(distance, _)| *distance <= written.len() / LETTERS_PER_TYPO)
        .min()
        .map(|(_, key)| key)
}

/// A known key of the same name in another table.
fn same_name(field: &str, known: &[String]) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    known
        .iter()
        .filter(|key| last(key).is_some_and(|name| strsim::damerau_levenshtein(&name, field) <= 1))
        .min()
        .cloned()
}
