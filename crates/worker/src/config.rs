//! The worker's options: one flat TOML table with units in its values; an unknown key is an error that names the nearest.

use bytesize::ByteSize;
use ferry_objects::{NamedStores, StoreSettings, check_named_stores};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Most slots of one worker, as the machine has it.
const SLOTS_MAX: u32 = 1_000;
/// Longest name, label key and label value, in bytes, as the machine has it.
const NAME_BYTES_MAX: usize = 256;
/// Most labels, as the machine has it.
const LABELS_MAX: usize = 64;

/// How a worker is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Client addresses of nodes, `host:port`; one that answers is enough, the leader is found from there.
    pub endpoints: Vec<String>,
    /// The worker's name, unique in the cluster.
    pub name: String,
    /// Tasks it runs at once.
    pub slots: u32,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Bytes per second over everything it copies; 0 is no limit.
    pub bandwidth_per_second: ByteSize,
    /// How long one request to a store may take; not longer than the nodes' `leadership.request-timeout`, for which a
    /// clean-up waits: they refuse the worker otherwise.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a remote store may still carry out a request that got no answer; not longer than the nodes'
    /// `leadership.late-writes`. A clean-up of what such a request may write is done only if it began after that.
    #[serde(with = "humantime_serde")]
    pub late_writes: Duration,
    /// How long a worker that is told to end waits for its attempts to stop and be given back.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// Where `/metrics`, `/livez` and `/readyz` are served; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// Files of one task that are copied at once.
    pub files_per_task: usize,
    /// Reads every copy back and compares it, also for jobs that do not ask for it.
    pub read_back: bool,
    /// Object stores by name, beside those of the environment: the same on nodes and workers.
    #[serde(skip_serializing_if = "NamedStores::is_empty")]
    pub stores: NamedStores,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            endpoints: Vec::new(),
            name: String::new(),
            slots: 4,
            labels: BTreeMap::new(),
            bandwidth_per_second: ByteSize(0),
            request_timeout: Duration::from_secs(30),
            late_writes: Duration::from_mins(10),
            shutdown_timeout: Duration::from_secs(10),
            admin_listen: None,
            files_per_task: 8,
            read_back: false,
            stores: NamedStores::new(),
        }
    }
}

/// What is wrong with the options.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A key that no option has.
    #[error("unknown key `{key}`: did you mean `{nearest}`?")]
    UnknownKey {
        /// The key.
        key: String,
        /// The option with the most similar name.
        nearest: &'static str,
    },
    /// Not TOML, or a value of another type.
    #[error("the worker's configuration cannot be read: {0}")]
    Malformed(String),
    /// A setting that no object store can have.
    #[error(transparent)]
    Store(#[from] ferry_objects::SettingsError),
    /// A value that the worker cannot use.
    #[error("`{key}` {fault}")]
    Invalid {
        /// The option.
        key: &'static str,
        /// What is wrong, and what would be right.
        fault: String,
    },
}

impl Config {
    /// Every option's key.
    pub const KEYS: [&'static str; 12] = [
        "endpoints",
        "name",
        "slots",
        "labels",
        "bandwidth-per-second",
        "request-timeout",
        "late-writes",
        "shutdown-timeout",
        "admin-listen",
        "files-per-task",
        "read-back",
        "stores",
    ];

    /// Reads the options from a TOML table; what it leaves out has its default. Values are checked by [`Config::check`].
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(malformed)?;
        if let Some(key) = table.keys().find(|key| !Config::KEYS.contains(&key.as_str())) {
            return Err(ConfigError::UnknownKey { key: key.clone(), nearest: Config::nearest_key(key) });
        }
        for (name, store) in table.get("stores").and_then(toml::Value::as_table).into_iter().flatten() {
            let mut keys = store.as_table().into_iter().flat_map(toml::Table::keys);
            if let Some(key) = keys.find(|key| !StoreSettings::KEYS.contains(&key.as_str())) {
                let nearest = nearest_of(key, &StoreSettings::KEYS);
                return Err(ConfigError::UnknownKey { key: format!("stores.{name}.{key}"), nearest });
            }
        }
        toml::from_str(text).map_err(malformed)
    }

    /// The option whose key is most like `key`.
    pub fn nearest_key(key: &str) -> &'static str {
        nearest_of(key, &Config::KEYS)
    }

    /// Refuses values that the worker or the cluster could not work with.
    pub fn check(&self) -> Result<(), ConfigError> {
        require(!self.endpoints.is_empty(), "endpoints", "is empty: name at least one node, such as 127.0.0.1:7401")?;
        require(!self.name.is_empty(), "name", "is empty: give the worker a name that no other has")?;
        require(self.name.len() <= NAME_BYTES_MAX, "name", "is longer than 256 bytes: choose a shorter one")?;
        require(
            (1..=SLOTS_MAX).contains(&self.slots),
            "slots",
            "is not from 1 to 1000: choose how many tasks run at once",
        )?;
        require(self.labels.len() <= LABELS_MAX, "labels", "are more than 64: leave some out")?;
        let short = |text: &String| text.len() <= NAME_BYTES_MAX;
        require(
            self.labels.iter().all(|(key, value)| short(key) && short(value)),
            "labels",
            "have a key or value longer than 256 bytes: shorten it",
        )?;
        require(self.files_per_task > 0, "files-per-task", "is 0: at least one file has to be copied at a time")?;
        require(!self.request_timeout.is_zero(), "request-timeout", "is 0: no request could succeed")?;
        Ok(check_named_stores(&self.stores)?)
    }
}

fn nearest_of(key: &str, known: &[&'static str]) -> &'static str {
    known.iter().min_by_key(|candidate| strsim::damerau_levenshtein(key, candidate)).copied().unwrap_or_default()
}

/// Whole milliseconds of a duration, or the most there are.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn require(holds: bool, key: &'static str, fault: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Invalid { key, fault: fault.to_owned() }) }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn malformed(error: toml::de::Error) -> ConfigError {
    ConfigError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_units() {
        let config = Config::from_toml(
            r#"
            endpoints = ["127.0.0.1:7401"]
            name = "w1"
            bandwidth-per-second = "10MiB"
            request-timeout = "2s"
            admin-listen = "127.0.0.1:0"
            labels = { zone = "a" }
            "#,
        )
        .unwrap();
        assert_eq!(config.bandwidth_per_second, ByteSize::mib(10));
        assert_eq!(config.request_timeout, Duration::from_secs(2));
        assert_eq!(config.slots, 4, "what is left out has its default");
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        let error = Config::from_toml("slotz = 3").unwrap_err().to_string();
        assert_eq!(error, "unknown key `slotz`: did you mean `slots`?");
    }

    #[test]
    fn keys_are_those_of_the_table() {
        let store = ferry_objects::StoreSettings::new(ferry_objects::StoreKind::S3);
        let full = Config {
            admin_listen: Some(([127, 0, 0, 1], 1).into()),
            stores: [("a".to_owned(), store)].into(),
            ..Config::default()
        };
        let table = toml::Table::try_from(&full).unwrap();
        let mut keys: Vec<&str> = table.keys().map(String::as_str).collect();
        let mut known = Config::KEYS.to_vec();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known);
    }

    #[test]
    fn options_survive_being_written_and_read() {
        let config = Config {
            endpoints: vec!["a:1".into()],
            name: "w".into(),
            bandwidth_per_second: ByteSize::mib(3),
            ..Config::default()
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(Config::from_toml(&text).unwrap(), config);
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let good = Config { endpoints: vec!["a:1".into()], name: "w".into(), ..Config::default() };
        assert_eq!(good.check(), Ok(()));
        for (bad, key) in [
            (Config { endpoints: vec![], ..good.clone() }, "`endpoints`"),
            (Config { name: String::new(), ..good.clone() }, "`name`"),
            (Config { name: "x".repeat(257), ..good.clone() }, "`name`"),
            (Config { slots: 0, ..good.clone() }, "`slots`"),
            (Config { slots: 1_001, ..good.clone() }, "`slots`"),
            (Config { files_per_task: 0, ..good.clone() }, "`files-per-task`"),
            (Config { request_timeout: Duration::ZERO, ..good.clone() }, "`request-timeout`"),
            (Config { labels: [("x".repeat(257), String::new())].into(), ..good }, "`labels`"),
        ] {
            let message = bad.check().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
