//! A source tree of many segments in Milvus' layout: random content, sizes as segments of a small collection have them.

use super::steps::Steps;
use crate::progress::FileProgress;
use crate::units::show_bytes;
use anyhow::Context;
use ferry_objects::{Stores, file_uri};
use ferry_snapshot::{CreateOptions, Created};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::path::{Path, PathBuf};

const COLLECTION: i64 = 111;
const PARTITIONS: [i64; 2] = [222, 223];
const FIRST_SEGMENT: i64 = 10_000;
const FIRST_BUILD: i64 = 50_000;
const ROWS_PER_SEGMENT: u64 = 4_000;
/// The random bytes that all files are cut from, each at its own place and with its own head.
const POOL_BYTES: usize = 8 << 20;
/// Bytes of the vectors of a segment.
const VECTOR_BYTES: std::ops::Range<usize> = 300 << 10..2 << 20;

/// The source of the bulk job.
pub(super) struct Bulk {
    pub(super) root: PathBuf,
    /// What the job takes as its source.
    pub(super) snapshot: Created,
}

/// Writes the tree and makes a snapshot over it.
pub(super) async fn make(steps: &Steps, root: PathBuf, segments: u16) -> anyhow::Result<Bulk> {
    let tree = root.clone();
    tokio::task::spawn_blocking(move || write_tree(&tree, segments)).await?.context("the source cannot be written")?;
    let options = CreateOptions {
        name: Some("bulk".to_owned()),
        rows_default: Some(ROWS_PER_SEGMENT),
        ..CreateOptions::default()
    };
    let progress = FileProgress::new("reading");
    let location = Stores::new().open(&file_uri(&root))?;
    let created = ferry_snapshot::create(&location, &options, &|now| progress.show(now)).await;
    progress.end();
    let snapshot = created.context("no snapshot was made over the source")?;
    let (files, bytes) = (snapshot.files, show_bytes(snapshot.bytes));
    steps.say(&format!("{} segments, {files} files, {bytes}; snapshot {}", snapshot.segments, snapshot.uri));
    Ok(Bulk { root, snapshot })
}

fn write_tree(root: &Path, segments: u16) -> std::io::Result<()> {
    let mut random = StdRng::from_os_rng();
    let mut pool = vec![0; POOL_BYTES];
    random.fill_bytes(&mut pool);
    for number in 0..i64::from(segments) {
        for (key, bytes) in files_of(number, &mut random) {
            let path = root.join(key);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, content(&pool, bytes, &mut random))?;
        }
    }
    Ok(())
}

/// Keys and sizes of one segment: a log per field, statistics, an index, and deletes in every fourth.
fn files_of(number: i64, random: &mut impl Rng) -> Vec<(String, usize)> {
    let [segment, build] = [FIRST_SEGMENT + number, FIRST_BUILD + number];
    let partition = PARTITIONS[usize::from(number % 2 != 0)];
    let place = format!("{COLLECTION}/{partition}/{segment}");
    let vectors = random.random_range(VECTOR_BYTES);
    let log = 1_000_000 + number * 100;
    let mut files = vec![
        (format!("insert_log/{place}/0/{log}"), vectors / 32),
        (format!("insert_log/{place}/1/{}", log + 1), vectors / 32),
        (format!("insert_log/{place}/100/{}", log + 2), vectors / 32),
        (format!("insert_log/{place}/101/{}", log + 3), vectors / 8),
        (format!("insert_log/{place}/102/{}", log + 4), vectors),
        // The merged one: without it, compaction could have made the segment.
        (format!("stats_log/{place}/100/1"), 4 << 10),
        (format!("index_files/{build}/1/{partition}/{segment}/HNSW"), vectors + vectors / 8),
    ];
    if number % 4 == 0 {
        files.push((format!("delta_log/{place}/{}", log + 6), 2 << 10));
    }
    files
}

/// Bytes that no other file has.
fn content(pool: &[u8], bytes: usize, random: &mut impl RngCore) -> Vec<u8> {
    let mut content = vec![0; 16];
    random.fill_bytes(&mut content);
    let start = random.random_range(0..pool.len());
    let (first, second) = (&pool[start..], &pool[..start]);
    content.extend(first.iter().chain(second).take(bytes));
    content
}

#[cfg(test)]
mod tests {
    use super::{Steps, make};
    use ferry_objects::Stores;
    use ferry_snapshot::{Depth, Snapshot};

    #[tokio::test]
    async fn the_bulk_source_is_a_snapshot_that_verifies() {
        let dir = tempfile::tempdir().expect("a folder");
        let bulk = make(&Steps::new(1), dir.path().join("bulk"), 4).await.expect("made");
        assert_eq!((bulk.snapshot.segments, bulk.snapshot.files), (4, 29));
        let snapshot = Snapshot::open(&Stores::new(), &bulk.snapshot.uri).await.expect("a snapshot");
        let found = snapshot.verify(Depth::Contents, &|_| ()).await.expect("readable");
        assert!(found.is_clean(), "{:?}", found.problems);
        assert_eq!(found.checksums_compared, 29);
    }
}
