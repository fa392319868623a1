//! Small files of a disk that wait for one sync of all.

use super::*;
use crate::copy::disk::{Disks, SYNC_LONG};
use crate::copy::temporary::TemporaryFile;
use crate::copy::{Waiting, small};
use ferry_objects::Folder;

/// The same as of an attempt on a disk that is synced as a whole.
fn patient(way: &Way) -> (Copier, CancellationToken, Arc<Waiting>) {
    let (copier, stop) = way.copier();
    let folder = Arc::clone(copier.target.folder().unwrap());
    let disk = Disks::default().open_any(&folder, &copier.temporary_folder).unwrap();
    let waiting = Arc::new(Waiting::new(folder, disk));
    (Copier { waiting: Some(Arc::clone(&waiting)), ..copier }, stop, waiting)
}

fn to_disk() -> impl Iterator<Item = Way> {
    ways().into_iter().filter(|way| way.target.local_root().is_some())
}

fn temporary_files(way: &Way) -> usize {
    std::fs::read_dir(way.target.local_root().unwrap().join(".ferry/attempts/1-1")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_get_their_names_only_when_all_of_them_are_synced() {
    for way in to_disk() {
        let (copier, _, waiting) = patient(&way);
        let files = small_files(&way, &copier).await;
        for run in copier.runs(&files, false) {
            copier.copy_run(run, false).await.unwrap();
        }
        assert_eq!(temporary_files(&way), 40, "{}", way.name);
        assert!(!way.target.local_root().unwrap().join("copies").exists(), "{}: nothing is in place", way.name);
        waiting.flush(&copier.permit).await.unwrap();
        waiting.sync_names().await.unwrap();
        for file in &files {
            let copied = way.target.read(&file.target_key, u64::MAX).await.unwrap();
            assert_eq!(Some(Checksum::of(&copied)), file.checksum, "{}: {}", way.name, file.target_key);
        }
        assert_eq!(temporary_files(&way), 0, "{}", way.name);
        assert_eq!(copier.meter.bytes(), files.iter().map(|file| file.source.size_bytes).sum::<u64>(), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_it_has_to_be_does_not_wait() {
    for way in to_disk() {
        let (copier, _, waiting) = patient(&way);
        let mut files = small_files(&way, &copier).await;
        files[4].checksum = Some(Checksum::of(b"another"));
        let mut faults = Vec::new();
        for run in copier.runs(&files, false) {
            faults.extend(copier.copy_run(run, false).await.err());
        }
        let [Fault::Permanent(reason)] = faults.as_slice() else { panic!("{}: {faults:?}", way.name) };
        assert!(reason.contains("4/4 is altered"), "{reason}");
        waiting.flush(&copier.permit).await.unwrap();
        assert!(way.target.read("copies/4/4", u64::MAX).await.is_err(), "{}", way.name);
        assert!(way.target.read("copies/5/5", u64::MAX).await.is_ok(), "{}: the others are not held up", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_removed_when_its_attempt_ends_and_gets_no_name_after_a_stop() {
    for way in to_disk() {
        let (copier, stop, waiting) = patient(&way);
        let files = small_files(&way, &copier).await;
        for run in copier.runs(&files, false) {
            copier.copy_run(run, false).await.unwrap();
        }
        stop.cancel();
        assert_eq!(waiting.flush(&copier.permit).await, Err(Fault::Stopped), "{}", way.name);
        waiting.give_up().await;
        assert_eq!(temporary_files(&way), 0, "{}", way.name);
        assert!(!way.target.local_root().unwrap().join("copies").exists(), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_takes_long_on_shared_objects_and_on_large_ones_nothing_waits() {
    for way in to_disk() {
        let (copier, _, waiting) = patient(&way);
        let large = way.file(&copier, content((1 << 20) + 1)).await;
        copier.copy(&large).await.unwrap();
        assert!(way.target().await.is_some(), "{}: it is large", way.name);
        let shared = FileCopy { shared: true, ..small_files(&way, &copier).await[3].clone() };
        copier.copy_or_keep(&shared, false).await.unwrap();
        assert!(way.target.read("copies/3/3", u64::MAX).await.is_ok(), "{}: others look for it", way.name);
        waiting.disk().took(2 * SYNC_LONG);
        let files = small_files(&way, &copier).await;
        for run in copier.runs(&files[4..], false) {
            copier.copy_run(run, false).await.unwrap();
        }
        assert!(way.target.read("copies/4/39", u64::MAX).await.is_ok(), "{}: synced alone", way.name);
        assert_eq!(temporary_files(&way), 0, "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_much_waits_it_is_synced_and_placed_before_more_comes() {
    let folder = tempfile::tempdir().unwrap();
    let target = Arc::new(Folder::new(folder.path()));
    let waiting = Waiting::new(Arc::clone(&target), Disks::default().open_any(&target, "t").unwrap());
    let (copier, _) = ways()[0].copier();
    let exists = |name: &str| folder.path().join(name).exists();
    for (name, mebibytes, is_placed) in [("a", 1, false), ("b", 62, false), ("c", 1, true), ("d", 1, false)] {
        let file = TemporaryFile::create(&target, "t").unwrap().close();
        waiting.add(file, name, mebibytes << 20, &copier.permit).unwrap();
        assert_eq!(exists(name), is_placed, "{name}");
    }
    assert!(exists("a") && exists("b") && exists("c"), "all that waited has its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_wait_as_copies_do() {
    let ways = ways();
    let (copier, _, waiting) = patient(&ways[0]);
    let manifest = |number: u8| ferry_snapshot::SnapshotFile {
        target_key: format!("snapshots/{number}"),
        content: Bytes::from(vec![number; 10]),
    };
    let manifests = [manifest(1), manifest(2)];
    let written = small::write(&copier.target, "t", &manifests, Some(&waiting), &copier.permit).await.unwrap();
    assert_eq!(written, [true, true]);
    assert!(ways[0].target.read("snapshots/1", 100).await.is_err());
    waiting.flush(&copier.permit).await.unwrap();
    for manifest in manifests {
        assert_eq!(ways[0].target.read(&manifest.target_key, 100).await.unwrap(), manifest.content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_lost_on_their_way_to_their_names_are_never_forgotten() {
    for way in to_disk() {
        let (copier, _, waiting) = patient(&way);
        let files = small_files(&way, &copier).await;
        for run in copier.runs(&files, false) {
            copier.copy_run(run, false).await.unwrap();
        }
        let blocked = way.target.local_root().unwrap().join("copies");
        std::fs::write(&blocked, "no folder").unwrap();
        let fault = waiting.flush(&copier.permit).await.unwrap_err();
        std::fs::remove_file(&blocked).unwrap();
        assert_eq!(waiting.flush(&copier.permit).await, Err(fault), "{}: nothing waits, and all is lost", way.name);
    }
}
