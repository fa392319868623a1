//! Why a configuration is refused; every message names the key, where it came from and what to write.

use std::path::PathBuf;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("the configuration file {path} cannot be read: {source}; check --config")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`{hint}; `ferry server --dump-config` lists every key")]
    UnknownKey {
        /// The file, variable or flag.
        origin: String,
        /// The key as written.
        key: String,
        /// The key that was probably meant, in a sentence; empty if none is near.
        hint: String,
    },
    /// A source that is no TOML, or a value that is of another kind.
    #[error("{origin}: {key}{reason}")]
    Malformed {
        /// The file, variable or flag.
        origin: String,
        /// The key, with its separator; empty for the file as a whole.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting that no object store can have.
    #[error(transparent)]
    Store(#[from] ferry_objects::SettingsError),
    /// A value that cannot be.
    #[error("`{key}` {reason}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write instead.
        reason: String,
    },
}
