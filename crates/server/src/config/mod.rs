//! The configuration of a node: one options table per component; a value that got this far is checked.

mod error;
mod load;
mod options;
mod peers;
#[cfg(test)]
mod tests;
mod units;
mod validate;

pub use error::ConfigError;
pub use load::Overrides;
pub use options::{
    ClusterOptions, JobOptions, LeadershipOptions, LimitOptions, RaftOptions, StorageOptions, WebhookOptions,
};
pub use peers::Peers;
pub use units::{Size, Timeout};

pub(crate) use options::{LeadershipConfig, milliseconds};

use ferry_objects::NamedStores;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything a node can be told; written as TOML with the same names in kebab-case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// This node's id, positive; never given to another node.
    pub id: u64,
    /// The folder that holds everything the node remembers.
    pub data_dir: PathBuf,
    /// Where clients and other nodes are served.
    pub listen: String,
    /// The address others reach this node at; empty: as `peers` says, else `listen`.
    pub advertise: String,
    /// The nodes the cluster begins with, this one among them, as `id=host:port`; without effect once the node
    /// has a cluster. Empty: it waits to be added to one.
    pub peers: Peers,
    /// Where `/metrics`, `/livez` and `/readyz` are served; port 0 takes a free one, which the log names.
    pub admin_listen: String,
    /// What the cluster is begun with.
    pub cluster: ClusterOptions,
    /// Consensus.
    pub raft: RaftOptions,
    /// Disk and memory.
    pub storage: StorageOptions,
    /// What the leader does, and how often.
    pub leadership: LeadershipOptions,
    /// What a job gets where its submit says nothing.
    pub job: JobOptions,
    /// Where the events of jobs are posted.
    pub webhook: WebhookOptions,
    /// What one node takes on.
    pub limits: LimitOptions,
    /// Object stores by name, beside those of the environment: the same on nodes and workers.
    #[serde(skip_serializing_if = "NamedStores::is_empty")]
    pub stores: NamedStores,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: 1,
            data_dir: PathBuf::from("ferry-data"),
            listen: "127.0.0.1:7401".into(),
            advertise: String::new(),
            peers: Peers::default(),
            admin_listen: "127.0.0.1:0".into(),
            cluster: ClusterOptions::default(),
            raft: RaftOptions::default(),
            storage: StorageOptions::default(),
            leadership: LeadershipOptions::default(),
            job: JobOptions::default(),
            webhook: WebhookOptions::default(),
            limits: LimitOptions::default(),
            stores: NamedStores::new(),
        }
    }
}

impl Config {
    /// The configuration from the file (if any), the process's `FERRY_*` environment and the flags, in rising
    /// precedence, checked.
    ///
    /// # Errors
    /// When a source cannot be read, names an unknown key, or a value cannot be.
    pub fn load(file: Option<&Path>, flags: &Overrides) -> Result<Self, ConfigError> {
        let environment = std::env::vars().filter(|(name, _)| name.starts_with(load::ENVIRONMENT_PREFIX));
        Self::load_from(file, environment, flags)
    }

    /// As [`Config::load`], with the environment given.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Overrides,
    ) -> Result<Self, ConfigError> {
        let config = load::layered(file, environment, flags)?;
        config.validate()?;
        Ok(config)
    }

    /// The address others reach this node at.
    #[must_use]
    pub fn advertised(&self) -> &str {
        if !self.advertise.is_empty() {
            return &self.advertise;
        }
        self.peers.address(self.id).unwrap_or(&self.listen)
    }

    /// The members the cluster begins with, this node among them; none where it waits to be added.
    #[must_use]
    pub fn members(&self) -> std::collections::BTreeMap<u64, String> {
        let mut members = self.peers.all().clone();
        if let Some(this) = members.get_mut(&self.id) {
            self.advertised().clone_into(this);
        }
        members
    }

    /// The whole configuration as a TOML file that says the same.
    #[must_use]
    pub fn dump(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| unreachable!("a configuration is always TOML: {error}"))
    }
}
