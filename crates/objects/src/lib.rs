//! Object stores by URI: which store one names, what its requests say of its objects, and folders of this machine that
//! nothing leaves through a link.
//!
//! Architecture invariant: this crate knows no other crate of Ferry, and touches no key that [`check_key`] refuses.

mod blocking;
mod checksum;
mod connection;
mod copy_status;
mod credentials;
mod error;
mod folder;
mod key;
mod location;
mod s3;
mod stores;
mod uri;

pub use blocking::blocking;
pub use checksum::Checksum;
pub use copy_status::CopyStatus;
pub use error::{Class, Reason, Said, StoreError};
pub use folder::{Folder, FolderError, Walk, is_regular};
pub use key::{KeyError, KeyFault, check_key, join, shown};
pub use location::{Listing, Location, Object};
pub use s3::{CopiedPart, CopyInParts, UnfinishedUpload};
pub use stores::{Stores, file_uri};
pub use uri::{UriError, bucket_and_key};
