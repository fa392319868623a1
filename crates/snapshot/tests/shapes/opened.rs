//! A tree that was written and opened, and what becomes of its segments: source keys with their target keys, or the
//! words of the refusal.

use std::collections::BTreeMap;

use ferry_objects::{Location, Stores, file_uri};
use ferry_snapshot::{IndexChoice, Mapping, SegmentPlan, Snapshot, Target};

use crate::tree::Tree;

/// A snapshot that was opened, with the stores that hold it.
pub(crate) struct Opened {
    pub(crate) stores: Stores,
    pub(crate) snapshot: Snapshot,
    _folder: Option<tempfile::TempDir>,
}

impl Tree {
    /// Writes the tree into memory and opens it by its metadata file.
    pub(crate) async fn open(&self) -> Opened {
        let stores = Stores::new();
        let snapshot = self.open_in(&stores, "memory:///").await;
        Opened::of(stores, snapshot.unwrap())
    }

    /// What is said instead.
    pub(crate) async fn not_opened(&self) -> String {
        self.open_in(&Stores::new(), "memory:///").await.unwrap_err()
    }

    /// Writes the tree into a folder of this machine and opens it there.
    pub(crate) async fn open_in_folder(&self, folder: tempfile::TempDir) -> Opened {
        let stores = Stores::new();
        let snapshot = self.open_in(&stores, &file_uri(folder.path())).await;
        Opened { stores, snapshot: snapshot.unwrap(), _folder: Some(folder) }
    }

    /// Writes everything below a place.
    pub(crate) async fn write(&self, place: &Location) {
        for (key, content) in self.files() {
            place.write(&key, content.into()).await.unwrap();
        }
    }

    /// Writes the tree below a place and opens it there.
    pub(crate) async fn open_in(&self, stores: &Stores, uri: &str) -> Result<Snapshot, String> {
        let place = stores.open(uri).unwrap();
        self.write(&place).await;
        let metadata = place.object_uri(&format!("{}{}", self.snapshot_lies, Self::metadata_key()));
        Snapshot::open(stores, &metadata).await.map_err(|error| error.to_string())
    }
}

impl Opened {
    pub(crate) fn of(stores: Stores, snapshot: Snapshot) -> Self {
        Self { stores, snapshot, _folder: None }
    }

    /// A target under ids of its own: collection 200, partition 20, builds from 500 on, snapshot 9.
    pub(crate) fn target(&self) -> Target {
        target_at(self.stores.open("memory:///target").unwrap())
    }

    /// The plan of a segment, whose copy has an id that is larger by 1000.
    pub(crate) async fn plan(&self, segment: i64, target: &Target) -> Result<SegmentPlan, String> {
        self.snapshot.plan(&mapping(segment), target).await.map_err(|error| error.to_string())
    }

    /// Target keys by source key.
    pub(crate) async fn copies(&self, segment: i64) -> BTreeMap<String, String> {
        let plan = self.plan(segment, &self.target()).await.unwrap();
        let copies: BTreeMap<String, String> =
            plan.files.iter().map(|file| (file.source_key.clone(), file.target_key.clone())).collect();
        assert_eq!(copies.len(), plan.files.len(), "no object is planned twice");
        for key in copies.keys() {
            self.snapshot.location().size_bytes(key).await.unwrap();
        }
        copies
    }

    /// Why a segment is refused.
    pub(crate) async fn refused(&self, segment: i64) -> String {
        self.plan(segment, &self.target()).await.unwrap_err()
    }
}

pub(crate) fn target_at(location: Location) -> Target {
    Target {
        location,
        collection_id: 200,
        partition_ids: BTreeMap::from([(10, 20)]),
        build_id_base: 500,
        snapshot_id: 9,
        is_bundle: false,
        indexes: IndexChoice::All,
    }
}

pub(crate) fn mapping(segment: i64) -> Mapping {
    Mapping { source_segment_id: segment, target_segment_id: segment + 1_000, partition_id: 0 }
}

/// Source and target keys of a segment's copy: `@` stands for collection, partition and segment, and a line with an arrow
/// gives both keys.
pub(crate) fn pairs(segment: i64, lines: &[&str]) -> BTreeMap<String, String> {
    let (source, target) = (format!("100/10/{segment}"), format!("200/20/{}", segment + 1_000));
    let pair = |line: &&str| match line.split_once(" -> ") {
        Some((from, to)) => (from.to_owned(), to.to_owned()),
        None => (line.replace('@', &source), line.replace('@', &target)),
    };
    let pairs: BTreeMap<String, String> = lines.iter().map(pair).collect();
    assert_eq!(pairs.len(), lines.len());
    pairs
}

/// Every one of the words stands in the message.
pub(crate) fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not said: {message}");
    }
}
