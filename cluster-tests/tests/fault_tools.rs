//! The faults themselves: a story that relies on a fault is worth nothing where the fault does not bite.

use cluster_tests::cluster::Cluster;
use cluster_tests::faults::privileges::may;
use cluster_tests::faults::{Disk, disk, shim};
use ferry_proto::v1::AllocateIdsRequest;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 32 << 20;

fn new_disk(parent: &Path) -> Disk {
    Disk::create(&parent.join("disk"), DISK_BYTES)
}

#[test]
fn power_loss_keeps_what_was_synced_and_nothing_else() {
    if !may("power-loss", disk::POWER_LOSS_TOOLS) {
        return;
    }
    let parent = tempfile::tempdir().expect("a folder");
    let mut disk = new_disk(parent.path());
    let [synced, unsynced, grown] = ["synced", "unsynced", "grown"].map(|name| disk.folder().join(name));
    fs::write(&grown, "first").expect("written");
    fs::write(&synced, "synced").expect("written");
    for path in [&grown, &synced] {
        File::open(path).and_then(|file| file.sync_all()).expect("synced");
    }
    File::open(disk.folder()).and_then(|folder| folder.sync_all()).expect("synced");
    fs::write(&unsynced, "unsynced").expect("written");
    File::options().append(true).open(&grown).and_then(|mut file| file.write_all(b", second")).expect("written");
    disk.lose_power();
    let refused = File::create(disk.folder().join("later"));
    assert!(refused.is_err(), "a disk without power takes nothing");
    disk.restore_power();
    assert_eq!(fs::read_to_string(&synced).expect("what was synced is there"), "synced");
    assert_eq!(fs::read_to_string(&grown).expect("what was synced is there"), "first");
    assert!(!unsynced.exists(), "what was not synced is gone");
}

#[test]
fn a_full_disk_takes_not_one_byte_until_it_is_freed() {
    if !may("disk-full", disk::TOOLS) {
        return;
    }
    let parent = tempfile::tempdir().expect("a folder");
    let disk = new_disk(parent.path());
    let path = disk.folder().join("small");
    disk.fill();
    assert_eq!(fs::write(&path, "x").map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
    disk.free();
    fs::write(&path, "x").expect("there is room again");
}

#[test]
fn a_frozen_disk_takes_a_write_only_when_it_is_thawed() {
    if !may("frozen-disk", disk::FREEZE_TOOLS) {
        return;
    }
    let parent = tempfile::tempdir().expect("a folder");
    let mut disk = new_disk(parent.path());
    let path = disk.folder().join("late");
    disk.freeze();
    let writer = std::thread::spawn(move || fs::write(path, "x"));
    // Nothing tells that a write hangs but time.
    std::thread::sleep(Duration::from_millis(200));
    assert!(!writer.is_finished(), "a frozen disk takes nothing");
    disk.thaw();
    writer.join().expect("the writer ends").expect("the write succeeds in the end");
}

#[tokio::test]
async fn the_preloaded_faults_reach_the_syncs_of_rocksdb_and_of_the_vote_and_the_wall_clock() {
    if !may("failing-sync", shim::TOOLS) {
        return;
    }
    let mut cluster = Cluster::prepare(1, &[]);
    cluster.preload_faults(1);
    cluster.faults(1).shift_clock(86_400);
    cluster.start_all().await;
    let bites = cluster.faults(1).bites();
    assert!(bites.clocks_shifted > 0, "{bites:?}");
    assert!(bites.syncs_seen > 5, "{bites:?}");
    // The node's own log shows the day after.
    let day = |text: &str| text.lines().find_map(|line| line.get(..10).map(str::to_owned));
    let printed = cluster.node(1).printed();
    let now = std::process::Command::new("date").args(["-u", "-d", "+1 day", "+%F"]).output().expect("date");
    assert_eq!(day(&printed).as_deref(), Some(String::from_utf8_lossy(&now.stdout).trim()), "{printed}");

    cluster.faults(1).delay_syncs(300);
    let began = Instant::now();
    // More ids than a window holds, so that the reservation goes through the log.
    let request = AllocateIdsRequest { count: 500_000 };
    cluster.ids(1).allocate_ids(request).await.expect("a slow disk is no error");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert!(cluster.faults(1).bites().syncs_delayed > 0);
}
