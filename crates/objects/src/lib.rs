//! Object stores by URI: which store one names, what its requests say of its objects, and folders of this machine that
//! nothing leaves through a link.
//!
//! Architecture invariant: this crate knows no other crate of Ferry, and touches no key that [`check_key`] refuses.

mod blocking;
mod broken;
mod checksum;
mod classed;
mod connect;
mod connection;
mod copy_status;
mod credentials;
mod error;
mod folder;
mod key;
mod location;
mod pace;
mod plain;
mod probe;
mod routes;
mod s3;
mod settings;
mod stores;
mod uri;

pub use blocking::blocking;
pub use broken::{counting_broken, is_final};
pub use checksum::Checksum;
pub use copy_status::CopyStatus;
pub use error::{Class, Reason, Said, StoreError};
pub use folder::{Folder, FolderError, Walk, is_regular};
pub use key::{KeyError, KeyFault, check_key, join, shown};
pub use location::{Listing, Location, Object};
pub use probe::{Answer, Ask, probe, probe_reading};
pub use s3::{CopiedPart, CopyInParts, UnfinishedUpload};
pub use settings::{Encryption, NamedStores, SettingsError, StoreKind, StoreSettings, check_named_stores};
pub use stores::{EnvironmentStore, Stores, file_uri};
pub use uri::{UriError, bucket_and_key};
