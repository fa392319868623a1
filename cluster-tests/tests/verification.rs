//! A cluster that only verifies: a snapshot's objects are looked at, or a copy's are compared with them, by the workers that
//! copy too; nothing is written, no target is taken, and what differs is named.

use cluster_tests::cluster::Cluster;
use cluster_tests::process::ferry;
use cluster_tests::{file_uri, sample, tree};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Of the real Milvus' sample.
const SEGMENT: &str = "470636907273850237";

struct Story {
    cluster: Cluster,
    target: PathBuf,
}

impl Story {
    async fn start() -> Self {
        let mut cluster = Cluster::start(3).await;
        cluster.start_worker("one", 2);
        cluster.start_worker("two", 2);
        let target = cluster.path("target");
        Self { cluster, target }
    }

    fn submit(&self, source: &Path, more: &[&str]) -> Output {
        let (endpoints, source) = (self.cluster.endpoints(), file_uri(source));
        let all = ["--endpoints", &endpoints, "job", "submit", "--source", &source, "--wait", "-o", "json"];
        ferry(&all.iter().chain(more).copied().collect::<Vec<&str>>())
    }

    /// A verification that has ended well.
    fn verified(&self, source: &Path, more: &[&str]) -> Value {
        let output = self.submit(source, &[&["--verify-only"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let job = json(&output)["job"].clone();
        assert_eq!((job["state"].as_str(), job["progress_percent"].as_i64()), (Some("JOB_STATE_COMPLETED"), Some(100)));
        assert_eq!(job["cleanup"], "CLEANUP_STATE_NOT_NEEDED");
        job
    }

    /// Why a verification failed.
    fn found(&self, source: &Path, more: &[&str]) -> String {
        let output = self.submit(source, &[&["--verify-only"], more].concat());
        assert!(!output.status.success(), "it was to find something");
        let job = json(&output)["job"].clone();
        assert_eq!((&job["state"], &job["cleanup"]), (&"JOB_STATE_FAILED".into(), &"CLEANUP_STATE_NOT_NEEDED".into()));
        job["reason"].as_str().expect("a reason").to_owned()
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = tree::files(root).into_iter();
    files.map(|file| (file.clone(), std::fs::read(root.join(file)).expect("a file can be read"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_compared_with_its_source_by_its_own_snapshot_and_what_differs_is_named() {
    let story = Story::start().await;
    let target = file_uri(&story.target);
    let copied = json(&story.submit(&sample(), &["--target", &target, "--collection", "200"]))["job"].clone();
    assert_eq!(copied["state"], "JOB_STATE_COMPLETED");
    let snapshot = copied["snapshot_uri"].as_str().expect("the copy is a snapshot").to_owned();
    let before = contents(&story.target);
    for more in [&["--target", &snapshot][..], &["--target", &target, "--verify", "full", "--segments-per-task", "1"]] {
        let job = story.verified(&sample(), more);
        assert_eq!(job["copied_segments"], copied["copied_segments"]);
        assert_eq!(job["copied_bytes"], copied["copied_bytes"], "all of it was looked at");
        assert_eq!(job["snapshot_uri"], snapshot, "it names what was compared");
    }
    assert!(contents(&story.target) == before, "nothing is written");

    // The segments of the copy in any order, and one alone.
    let endpoints = story.cluster.endpoints();
    let listed = ferry(&["--endpoints", &endpoints, "segment", "list", "--collection", "200", "-o", "json"]);
    let mut rows: Vec<String> = Vec::new();
    for segment in json(&listed)["segments"].as_array().expect("a list") {
        let of = |field: &str| segment[field].as_str().expect("an id").to_owned();
        rows.push(format!("{},{},{}", of("source_segment_id"), of("segment_id"), of("partition_id")));
    }
    let file = story.cluster.path("mappings.csv");
    std::fs::write(&file, format!("source,target,partition\n{}\n", rows.join("\n"))).expect("a file can be written");
    let mappings = file.to_str().expect("text");
    story.verified(&sample(), &["--target", &snapshot, "--mappings", mappings]);
    let one = story.verified(&sample(), &["--target", &snapshot, "--segments", SEGMENT]);
    assert_eq!(one["total_segments"], "1");

    let index = tree::files(&story.target).into_iter().find(|file| file.starts_with("index_files")).expect("an index");
    std::fs::remove_file(story.target.join(&index)).expect("a file can be removed");
    let log = tree::files(&story.target).into_iter().rfind(|file| file.starts_with("insert_log")).expect("a log");
    let mut content = std::fs::read(story.target.join(&log)).expect("a file can be read");
    content[0] ^= 1;
    std::fs::write(story.target.join(&log), content).expect("a file can be written");
    let reason = story.found(&sample(), &["--target", &snapshot]);
    assert!(reason.contains(index.to_str().expect("text")) && reason.contains("is missing"), "{reason}");
    assert!(!reason.contains(log.to_str().expect("text")), "sizes are the same: {reason}");
    let reason = story.found(&sample(), &["--target", &snapshot, "--verify", "full"]);
    for object in [&index, &log] {
        assert!(reason.contains(object.to_str().expect("text")), "{object:?} is not in: {reason}");
    }
    story.cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_looked_at_alone_to_its_end_whatever_the_first_task_finds() {
    let story = Story::start().await;
    let source = story.cluster.path("source");
    tree::make(&source, 4, 32 * 1024);
    let job = story.verified(&source, &["--segments-per-task", "1"]);
    assert_eq!((job["total_segments"].as_str(), job["snapshot_uri"].as_str()), (Some("4"), Some("")));
    assert_eq!(job["tasks"]["completed"], "4", "there is no publication");
    let object = |segment: i64| format!("insert_log/{}/{}/{segment}/1/1", tree::COLLECTION, tree::PARTITION);
    let (first, last) = (object(tree::FIRST_SEGMENT), object(tree::FIRST_SEGMENT + 3));
    std::fs::remove_file(source.join(&first)).expect("a file can be removed");
    std::fs::write(source.join(&last), vec![0; 32 * 1024]).expect("a file can be written");
    let reason = story.found(&source, &["--segments-per-task", "1"]);
    assert!(reason.starts_with("1/4 tasks failed") && reason.contains(&first), "{reason}");
    let full = story.submit(&source, &["--verify-only", "--verify", "full", "--segments-per-task", "1"]);
    let job = json(&full)["job"].clone();
    assert_eq!((job["tasks"]["failed"].as_str(), job["tasks"]["completed"].as_str()), (Some("2"), Some("2")));
    let (endpoints, id) = (story.cluster.endpoints(), job["job_id"].as_str().expect("an id"));
    let tasks = json(&ferry(&["--endpoints", &endpoints, "task", "list", "--job", id, "-o", "json"]));
    let reasons: Vec<&str> =
        tasks["tasks"].as_array().expect("a list").iter().filter_map(|task| task["reason"].as_str()).collect();
    for object in [&first, &last] {
        assert!(reasons.iter().any(|reason| reason.contains(object.as_str())), "{object} is not in: {reasons:?}");
    }
    for (more, words) in [
        (&["--on-failure", "keep"][..], "copies nothing to keep"),
        (&["--collection", "200"], "target.uri"),
        (&["--target", &file_uri(&source)], "was not made here"),
    ] {
        let output = story.submit(&source, &[&["--verify-only"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{words:?} is not in: {said}");
    }
    story.cluster.assert_sound().await;
}
