//! Checksums of objects, and the sidecar file in which a snapshot keeps those of one segment: with it every copy is
//! compared byte for byte, without it by size alone.
//!
//! A sidecar lies next to its segment's manifest, at
//! `snapshots/{collection}/manifests/{snapshot}/{segment}.checksums.json`, so that planning a segment reads no more than
//! it needs. It is Ferry's own addition: Milvus neither writes nor reads it. Format version 1:
//!
//! ```json
//! {"format_version": 1, "objects": {"insert_log/1/2/3/0/4": {"size": 3131, "crc32c": "e3069283"}}}
//! ```
//!
//! Keys are relative to the snapshot's root, `size` is in bytes, `crc32c` is eight hexadecimal digits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use ferry_objects::{Checksum, KeyError, check_key};

/// The version that this crate reads and writes.
const FORMAT_VERSION: u32 = 1;

/// The content of a sidecar: the checksum of each object by its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// By key, relative to the snapshot's root.
    pub objects: BTreeMap<String, Checksum>,
}

/// Why a sidecar cannot be used.
#[derive(Debug, Error)]
pub enum ChecksumsError {
    /// Not our JSON.
    #[error(
        "not a checksum file: {0}; write it again with `ferry snapshot create`, or delete it to copy without checksums"
    )]
    Json(#[from] serde_json::Error),
    /// Written by a later version.
    #[error(
        "format_version {0} is newer than the 1 this version reads; upgrade Ferry, or delete the file to copy without checksums"
    )]
    Version(u32),
    /// A key that no snapshot may name.
    #[error(transparent)]
    Key(#[from] KeyError),
}

#[derive(Serialize, Deserialize)]
struct File {
    format_version: u32,
    objects: BTreeMap<String, Checksum>,
}

impl Checksums {
    /// Reads a sidecar.
    pub fn parse(content: &[u8]) -> Result<Checksums, ChecksumsError> {
        let file: File = serde_json::from_slice(content)?;
        if file.format_version != FORMAT_VERSION {
            return Err(ChecksumsError::Version(file.format_version));
        }
        for key in file.objects.keys() {
            check_key(key)?;
        }
        Ok(Checksums { objects: file.objects })
    }

    /// The sidecar's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let file = File { format_version: FORMAT_VERSION, objects: self.objects.clone() };
        serde_json::to_vec_pretty(&file).expect("a map of strings to plain structs is always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_is_read_back_as_it_was_written() {
        let mut checksums = Checksums::default();
        checksums.objects.insert("insert_log/1/2/3/0/4".into(), Checksum::of(b"123456789"));
        assert_eq!(Checksums::parse(&checksums.to_json()).unwrap(), checksums);
    }

    #[test]
    fn the_bytes_of_format_version_1_are_frozen() {
        let mut checksums = Checksums::default();
        checksums.objects.insert("a/b".into(), Checksum::of(b"123456789"));
        expect_test::expect![[r#"
            {
              "format_version": 1,
              "objects": {
                "a/b": {
                  "size": 9,
                  "crc32c": "e3069283"
                }
              }
            }"#]]
        .assert_eq(&String::from_utf8(checksums.to_json()).unwrap());
    }

    #[test]
    fn a_bad_sidecar_is_refused() {
        for (content, part) in [
            ("", "not a checksum file"),
            (r#"{"format_version":2,"objects":{}}"#, "format_version 2"),
            (r#"{"format_version":1,"objects":{"../a":{"size":1,"crc32c":"00000000"}}}"#, "is refused"),
            (r#"{"format_version":1,"objects":{"a":{"size":1,"crc32c":"zz"}}}"#, "hexadecimal"),
        ] {
            let message = Checksums::parse(content.as_bytes()).expect_err(content).to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
