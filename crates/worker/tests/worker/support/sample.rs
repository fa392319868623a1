//! The sample that a real Milvus wrote, in folders of the test's own, and assignments over it.

use ferry_objects::{Checksum, file_uri};
use ferry_proto::v1::{
    Assign, Attempt, CopiedSegment, Failure, FailureKind, IdMapping, ManifestPin, TargetRef, TaskWork, result,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) const COLLECTION: &str = "470636907273650226";
pub(crate) const PARTITION: &str = "470636907273650227";
pub(crate) const SEGMENTS: [i64; 3] = [470636907273850237, 470636907274050255, 470636907274050273];
pub(crate) const TARGET_COLLECTION: i64 = 200;
/// The copy's own snapshot.
pub(crate) const SNAPSHOT: i64 = 8_000;
pub(crate) const TARGET_SEGMENTS: [i64; 3] = [9001, 9002, 9003];
/// The sample's largest plain file of its first segment.
pub(crate) const VECTORS: &str =
    "insert_log/470636907273650226/470636907273650227/470636907273850237/101/470636907273850242";

/// A source tree and an empty target.
pub(crate) struct Sample {
    folder: tempfile::TempDir,
}

impl Sample {
    pub(crate) fn new() -> Sample {
        let folder = tempfile::tempdir().unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/testdata/milvus-sample");
        copy_tree(&original, &folder.path().join("source"));
        Sample { folder }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.source().join(format!("snapshots/{COLLECTION}/metadata/9001.json"))
    }

    /// An attempt that copies the whole sample to new ids.
    pub(crate) fn assign(&self, attempt: Attempt) -> Assign {
        let pin = Checksum::of(&std::fs::read(self.metadata()).unwrap());
        let mapping = |(source, target): (&i64, &i64)| IdMapping {
            source_segment_id: *source,
            target_segment_id: *target,
            partition_id: 0,
        };
        Assign {
            attempt: Some(attempt),
            job_id: 77,
            source_uri: file_uri(&self.source()),
            metadata_bytes: pin.size_bytes,
            metadata_crc32c: pin.crc32c,
            target: Some(TargetRef {
                uri: file_uri(&self.target()),
                collection_id: TARGET_COLLECTION,
                partition_ids: [(PARTITION.parse().unwrap(), 300)].into(),
                ..TargetRef::default()
            }),
            id_mappings: SEGMENTS.iter().zip(&TARGET_SEGMENTS).map(mapping).collect(),
            first_build_id: 5_000,
            work: TaskWork::Copy.into(),
            snapshot_id: SNAPSHOT,
            ..Assign::default()
        }
    }

    /// An attempt that publishes the copy.
    pub(crate) fn assign_publication(&self, attempt: Attempt) -> Assign {
        Assign { work: TaskWork::Publish.into(), id_mappings: Vec::new(), ..self.assign(attempt) }
    }

    /// A later attempt: the targets are claimed, by the manifests as they are now.
    pub(crate) fn assign_claimed(&self, attempt: Attempt) -> Assign {
        Assign { claimed: true, manifests: self.manifests(), ..self.assign(attempt) }
    }

    /// The manifest of the segment at `index`.
    pub(crate) fn manifest(&self, index: usize) -> PathBuf {
        self.source().join(format!("snapshots/{COLLECTION}/manifests/9001/{}.avro", SEGMENTS[index]))
    }

    /// The pins of all manifests, taken here a second time.
    pub(crate) fn manifests(&self) -> Vec<ManifestPin> {
        let pin = |index| {
            let content = std::fs::read(self.manifest(index)).unwrap();
            let Checksum { size_bytes, crc32c } = Checksum::of(&content);
            ManifestPin { size_bytes, crc32c }
        };
        (0..SEGMENTS.len()).map(pin).collect()
    }

    /// What is to be in the target, written down here a second time: the names after Milvus' layout, the contents as they
    /// are in the source.
    pub(crate) fn expected(&self) -> BTreeMap<String, Vec<u8>> {
        let mut expected = BTreeMap::new();
        for (key, content) in tree(&self.source()) {
            if key.starts_with("snapshots/") {
                continue;
            }
            let renamed: Vec<String> = key.split('/').map(rename).collect();
            expected.insert(renamed.join("/"), content);
        }
        expected
    }

    /// What is in the target beside the copy's own snapshot.
    pub(crate) fn copied(&self) -> BTreeMap<String, Vec<u8>> {
        let files = tree(&self.target()).into_iter();
        files.filter(|(key, _)| !key.starts_with("snapshots/")).collect()
    }

    /// The keys of the copy's own snapshot that are there.
    pub(crate) fn copied_snapshot(&self) -> Vec<String> {
        tree(&self.target()).into_keys().filter(|key| key.starts_with("snapshots/")).collect()
    }
}

/// No id of the sample occurs in two roles, and no log id equals one, so a part of a path can be renamed by itself.
fn rename(part: &str) -> String {
    match part {
        COLLECTION => "200",
        PARTITION => "300",
        "470636907273850237" => "9001",
        "470636907274050255" => "9002",
        "470636907274050273" => "9003",
        "470636907274050296" => "5000",
        "470636907274050297" => "5001",
        "470636907274050298" => "5002",
        other => other,
    }
    .to_owned()
}

pub(crate) fn attempt(task_id: i64, attempt: u32) -> Attempt {
    Attempt { task_id, attempt }
}

/// Every file below a folder by its relative path; nothing when there is no such folder.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                // What is renamed meanwhile is seen under its new name by the next look.
                files.extend(std::fs::read(&path).ok().map(|content| (key, content)));
            }
        }
    }
    files
}

fn copy_tree(from: &Path, to: &Path) {
    for (key, content) in tree(from) {
        let path = to.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

pub(crate) fn copied_segments(outcome: result::Outcome) -> Vec<CopiedSegment> {
    match outcome {
        result::Outcome::Copied(copied) => copied.segments,
        other => panic!("not copied: {other:?}"),
    }
}

pub(crate) fn failure(outcome: result::Outcome) -> Failure {
    match outcome {
        result::Outcome::Failure(failure) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

/// Asserts a permanent failure whose reason names every one of `parts`.
pub(crate) fn assert_permanent(outcome: result::Outcome, parts: &[&str]) {
    let failure = failure(outcome);
    assert_eq!(failure.kind(), FailureKind::Permanent, "{}", failure.reason);
    for part in parts {
        assert!(failure.reason.contains(part), "{part}: {}", failure.reason);
    }
}
