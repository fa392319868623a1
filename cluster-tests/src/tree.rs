//! Segments in Milvus' layout that a story makes itself, and the comparison of copies with their sources.

use crate::file_uri;
use crate::process::ferry;
use std::fs;
use std::path::{Path, PathBuf};

/// Ids of the trees that stories make.
pub const COLLECTION: i64 = 100;
/// The one partition of these trees.
pub const PARTITION: i64 = 10;
/// Source segments are numbered from here.
pub const FIRST_SEGMENT: i64 = 1_000;
/// The files of a segment, of one field each.
pub const FILES_PER_SEGMENT: usize = 3;

/// Writes `segments` segments of three files with `file_bytes` bytes each, and a snapshot over them.
///
/// # Panics
/// When the files cannot be written or the snapshot cannot be created.
pub fn make(root: &Path, segments: i64, file_bytes: usize) {
    for segment in FIRST_SEGMENT..FIRST_SEGMENT + segments {
        for field in 0..FILES_PER_SEGMENT {
            let folder = root.join(format!("insert_log/{COLLECTION}/{PARTITION}/{segment}/{field}"));
            fs::create_dir_all(&folder).expect("a folder can be made");
            fs::write(folder.join("1"), content(segment, field, file_bytes)).expect("a file can be written");
        }
    }
    let uri = file_uri(root);
    let collection = COLLECTION.to_string();
    let created = ferry(&["snapshot", "create", "--root", &uri, "--collection", &collection, "--rows", "7"]);
    assert!(created.status.success(), "snapshot create: {}", String::from_utf8_lossy(&created.stderr));
}

/// Writes the metadata of a snapshot of so many segments, from 1 on, without their files: enough for everyone but
/// those who copy.
///
/// # Panics
/// When the file cannot be written.
pub fn make_metadata(root: &Path, segments: i64) {
    let metadata = root.join("snapshots/8/metadata/9.json");
    fs::create_dir_all(root.join("snapshots/8/metadata")).expect("a folder can be made");
    let list: Vec<String> = (1..=segments).map(|id| format!("\"snapshots/8/manifests/9/{id}.avro\"")).collect();
    let text = format!(
        "{{\"format_version\": 5, \"snapshot_info\": {{\"id\": \"9\", \"collection_id\": \"8\", \
         \"state\": \"SnapshotStateCommitted\"}}, \"collection\": {{}}, \"manifest_list\": [{}]}}",
        list.join(",")
    );
    fs::write(metadata, text).expect("a file can be written");
}

/// Differs from segment to segment and from file to file.
fn content(segment: i64, field: usize, bytes: usize) -> Vec<u8> {
    let mut state = u64::try_from(segment).unwrap_or(1).wrapping_mul(31).wrapping_add(field as u64 + 1);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content
}

/// Every file below a folder, relative to it, in order.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).expect("it lies below").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// The same, without those of a snapshot itself.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn data_files(root: &Path) -> Vec<PathBuf> {
    files(root).into_iter().filter(|file| !file.starts_with("snapshots")).collect()
}

/// The segments that the one snapshot below a root has a manifest of, in their order.
///
/// # Panics
/// When there is not one metadata file, or a folder cannot be read.
#[must_use]
pub fn snapshot_segments(root: &Path) -> Vec<i64> {
    let files = files(&root.join("snapshots"));
    let metadata = files.iter().filter(|file| file.extension().is_some_and(|it| it == "json"));
    let metadata = metadata.filter(|file| file.iter().any(|part| part == "metadata")).count();
    assert_eq!(metadata, 1, "metadata files in {}", root.display());
    let manifests = files.iter().filter(|file| file.extension().is_some_and(|it| it == "avro"));
    let mut ids: Vec<i64> = manifests.filter_map(|file| file.file_stem()?.to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

/// Compares the copy of a segment made by [`make`] with its source, byte by byte.
///
/// # Panics
/// When a file is missing, differs, or is one too many.
pub fn assert_copied(source: &Path, target: &Path, source_segment: i64, target_segment: i64, collection: i64) {
    let from = source.join(format!("insert_log/{COLLECTION}/{PARTITION}/{source_segment}"));
    let to = target.join(format!("insert_log/{collection}/{PARTITION}/{target_segment}"));
    let expected = files(&from);
    assert_eq!(expected.len(), FILES_PER_SEGMENT, "the source of segment {source_segment} is whole");
    assert_eq!(expected, files(&to), "files of target segment {target_segment}");
    for file in expected {
        let (left, right) = (fs::read(from.join(&file)), fs::read(to.join(&file)));
        assert!(left.expect("source") == right.expect("target"), "{} of {target_segment} differs", file.display());
    }
}
