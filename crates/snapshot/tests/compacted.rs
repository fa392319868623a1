//! Snapshots over collections that were compacted: files that Milvus 2.3.5 wrote (testdata/README.md), as they were and
//! with something missing, damaged or added.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ferry_objects::{Stores, file_uri};
use ferry_snapshot::{CreateError, CreateOptions, Created, Replaced, Snapshot, create};
use tempfile::TempDir;

/// The collection with numbers as keys. A and B went into C, C and D into E, E and F into G; H was flushed last.
const NUMBERED: i64 = 470_822_592_378_708_533;
const A: i64 = 470_822_592_378_708_563;
const B: i64 = 470_822_592_378_708_586;
const C: i64 = 470_822_592_378_507_637;
const D: i64 = 470_822_592_378_708_667;
const E: i64 = 470_822_592_378_507_650;
/// All of its rows are deleted.
const F: i64 = 470_822_592_378_708_724;
const G: i64 = 470_822_592_378_507_667;
const H: i64 = 470_822_592_378_708_759;

/// The collection with texts as keys. Two segments went into the third; the fourth was flushed last.
const NAMED: i64 = 470_822_592_378_708_800;
const NAMED_SEGMENTS: [i64; 4] =
    [470_822_592_378_708_833, 470_822_592_378_708_851, 470_822_592_378_507_689, 470_822_592_378_708_922];

fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/milvus-compacted"), folder.path());
    folder
}

fn copy(source: &Path, target: &Path) {
    std::fs::create_dir_all(target).unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let to = target.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

/// The folder of a segment of NUMBERED.
fn folder(tree: &TempDir, kind: &str, segment: i64) -> PathBuf {
    tree.path().join(format!("{kind}/{NUMBERED}/{}/{segment}", NUMBERED + 1))
}

fn remove<const N: usize>(tree: &TempDir, segments: [i64; N]) {
    for segment in segments {
        for kind in ["insert_log", "delta_log", "stats_log"] {
            let folder = folder(tree, kind, segment);
            if folder.exists() {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
    }
}

/// Writes other content over the row ids of a segment.
fn damage(tree: &TempDir, segment: i64) {
    for log in std::fs::read_dir(folder(tree, "insert_log", segment).join("0")).unwrap() {
        std::fs::write(log.unwrap().path(), b"rows in a format of the future").unwrap();
    }
}

async fn made(tree: &TempDir, options: CreateOptions) -> Result<Created, CreateError> {
    let collection_id = Some(options.collection_id.unwrap_or(NUMBERED));
    let root = Stores::new().open(&file_uri(tree.path())).unwrap();
    create(&root, &CreateOptions { collection_id, ..options }, &|_| ()).await
}

/// The segments that the snapshot consists of.
async fn taken(tree: &TempDir) -> BTreeSet<i64> {
    let created = made(tree, CreateOptions::default()).await.unwrap();
    Snapshot::open(&Stores::new(), &created.uri).await.unwrap().segment_ids().collect()
}

async fn refused(tree: &TempDir) -> CreateError {
    let error = made(tree, CreateOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("choose the segments to take with --segments ID,ID,..."), "{error}");
    assert!(!tree.path().join("snapshots").exists(), "nothing was written");
    error
}

#[tokio::test]
async fn a_compacted_collection_has_the_segments_that_milvus_itself_loads() {
    let tree = tree();
    let created = made(&tree, CreateOptions::default()).await.unwrap();
    // Milvus counted 353 rows; one row of G and one of H are deleted by their delta logs.
    assert_eq!((created.segments, created.rows), (2, 355));
    // The files of the other collection.
    assert_eq!((created.left_out.count, created.left_out.examples.len()), (29, 5));
    assert_eq!((created.replaced.count, created.replaced.examples.len()), (6, 5));
    let held = |segment_id| Replaced { segment_id, held_by: vec![G] };
    assert_eq!(created.replaced.examples, [C, E, A, B, D].map(held));
    let snapshot = Snapshot::open(&Stores::new(), &created.uri).await.unwrap();
    assert_eq!(snapshot.segment_ids().collect::<Vec<_>>(), [G, H]);
}

#[tokio::test]
async fn keys_that_are_texts_and_upserts_are_told_apart_as_well() {
    let tree = tree();
    let options = CreateOptions { collection_id: Some(NAMED), ..CreateOptions::default() };
    let created = made(&tree, options).await.unwrap();
    // Milvus counted 146 rows; "name-2" and "name-149" are deleted after the compaction.
    assert_eq!((created.segments, created.rows), (2, 148));
    let [one, two, holder, _] = NAMED_SEGMENTS;
    let held = |segment_id| Replaced { segment_id, held_by: vec![holder] };
    assert_eq!(created.replaced.examples, [one, two].map(held));
}

#[tokio::test]
async fn a_chain_is_followed_from_wherever_it_still_begins_and_ends() {
    let whole = tree();
    // Before the last compaction, F and E were what it was made of.
    remove(&whole, [G]);
    assert_eq!(taken(&whole).await, BTreeSet::from([E, H]));
    // Before the one before it.
    let two = tree();
    remove(&two, [E, F, G, H]);
    assert_eq!(taken(&two).await, BTreeSet::from([C, D]));
    // Garbage collection took some of the replaced ones.
    let late = tree();
    remove(&late, [A, C, D]);
    assert_eq!(taken(&late).await, BTreeSet::from([G, H]));
    // Nothing was compacted yet: F, of which all rows are deleted, stays.
    let early = tree();
    remove(&early, [C, E, G]);
    assert_eq!(taken(&early).await, BTreeSet::from([A, B, D, F, H]));
}

#[tokio::test]
async fn a_delete_that_only_a_replaced_segment_knows_is_not_lost() {
    let tree = tree();
    // E and G have the same rows, and a delete that came late to both.
    for entry in std::fs::read_dir(folder(&tree, "delta_log", G)).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    remove(&tree, [A, B, C, D, F]);
    // G leaves for E, as E knows one delete more.
    assert_eq!(taken(&tree).await, BTreeSet::from([E, H]));
}

#[tokio::test]
async fn deletes_of_level_zero_count_for_the_rows_that_they_delete() {
    let tree = tree();
    // The deletes of A and B in a segment of their own, for the whole partition or for all of them.
    for (partition, of) in [(NUMBERED + 1, A), (-1, B)] {
        let to = tree.path().join(format!("delta_log/{NUMBERED}/{partition}/7{}", of % 10));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(folder(&tree, "delta_log", of), to).unwrap();
    }
    assert_eq!(taken(&tree).await, BTreeSet::from([73, 76, G, H]));
}

#[tokio::test]
async fn a_row_that_is_in_no_later_segment_stops_it_until_segments_are_chosen() {
    let tree = tree();
    // Without its deletes, A has live rows that no later segment has.
    std::fs::remove_dir_all(folder(&tree, "delta_log", A)).unwrap();
    let error = refused(&tree).await;
    assert!(matches!(error, CreateError::Overlap { one: G, other: A, .. }), "{error}");
    let chosen = CreateOptions { segments: BTreeSet::from([G, H]), ..CreateOptions::default() };
    let created = made(&tree, chosen).await.unwrap();
    assert_eq!((created.segments, created.rows, created.replaced.count), (2, 355, 0));
}

#[tokio::test]
async fn a_compaction_that_has_not_written_every_field_replaces_nothing() {
    let tree = tree();
    std::fs::remove_dir_all(folder(&tree, "insert_log", G).join("101")).unwrap();
    // What it was made of still has these rows.
    assert_eq!(taken(&tree).await, BTreeSet::from([E, H]));
    std::fs::remove_dir_all(tree.path().join("snapshots")).unwrap();
    remove(&tree, [E]);
    assert!(matches!(refused(&tree).await, CreateError::Overlap { .. }));
}

#[tokio::test]
async fn rows_that_cannot_be_read_stop_it_only_where_something_was_compacted() {
    let compacted = tree();
    damage(&compacted, H);
    let error = refused(&compacted).await;
    assert!(matches!(error, CreateError::Unreadable { segment_id: H, .. }), "{error}");
    let flushed = tree();
    remove(&flushed, [C, E, G]);
    damage(&flushed, H);
    let rows = BTreeMap::from([(H, 60)]);
    let created = made(&flushed, CreateOptions { rows, ..CreateOptions::default() }).await.unwrap();
    assert_eq!((created.segments, created.rows), (5, 401));
}

#[tokio::test]
async fn exactly_the_chosen_segments_are_taken_and_unknown_ones_are_named() {
    let tree = tree();
    let chosen = |ids: &[i64]| CreateOptions { segments: ids.iter().copied().collect(), ..CreateOptions::default() };
    let error = made(&tree, chosen(&[A, 5, 7])).await.unwrap_err();
    assert!(error.to_string().contains(&format!("no segment 5, 7 of collection {NUMBERED}")), "{error}");
    let created = made(&tree, chosen(&[A, B])).await.unwrap();
    assert_eq!((created.segments, created.rows), (2, 201));
}
