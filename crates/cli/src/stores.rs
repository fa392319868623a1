//! The stores that a command reaches from this machine: those of the environment, and those that a configuration names.

use crate::exit::Failure;
use clap::Args;
use ferry_objects::{NamedStores, Stores};
use std::path::PathBuf;

/// Where stores are named.
#[derive(Debug, Args)]
pub(crate) struct StoreOptions {
    /// The configuration of a node or a worker, of which only [stores.NAME] is read here.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl StoreOptions {
    /// The tables of named stores; none where no configuration is given.
    pub(crate) fn named(&self) -> Result<NamedStores, Failure> {
        let Some(path) = &self.config else { return Ok(NamedStores::new()) };
        let said = |fault: String| Failure::Usage(format!("the configuration {}: {fault}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| said(format!("it cannot be read: {error}")))?;
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| said(error.to_string()))?;
        let Some(stores) = table.remove("stores") else { return Ok(NamedStores::new()) };
        stores.try_into().map_err(|error| said(format!("[stores]: {error}")))
    }

    /// The stores themselves.
    pub(crate) fn open(&self) -> Result<Stores, Failure> {
        Stores::with_named(&self.named()?).map_err(|error| Failure::Usage(error.to_string()))
    }
}
