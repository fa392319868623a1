//! Every server, and clusters that reach them through relays: a process has one store of each kind, so servers of one kind
//! are in different clusters.

use cluster_tests::cluster::Cluster;
use cluster_tests::stores::relay::Relay;
use cluster_tests::stores::{Server, azurite, gcs, moto, seaweed};
use cluster_tests::{file_uri, sample, tree};
use ferry_proto::v1::{Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

/// Both are in every server.
pub(crate) const BUCKETS: [&str; 2] = ["first-bucket", "second-bucket"];
const PART_BYTES: usize = 8 << 20;
/// More than one part of an upload has.
const LARGE_FILE_BYTES: usize = PART_BYTES + 4_321;
/// Enough that an upload lasts, and that a server which shows one from its first part on shows it.
pub(crate) const LONG_FILE_BYTES: usize = 2 * PART_BYTES + 4_321;
/// One for each worker.
const SEGMENTS: i64 = 2;
/// More objects than a page of a listing has.
pub(crate) const MANY_OBJECTS: i64 = 1_010;
const LARGE: &str = "large";
const LONG: &str = "long";
const WORKERS: [&str; 2] = ["one", "two"];
const SLOTS: u32 = 4;

/// How often each content is there.
pub(crate) type Contents = BTreeMap<Vec<u8>, usize>;

/// A server, the relay before it, and the first cluster that reaches it.
pub(crate) struct Seat {
    pub(crate) server: Server,
    pub(crate) relay: Relay,
    cluster: usize,
}

/// Fields are dropped in this order: workers end before the stores that they ask.
pub(crate) struct World {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) seats: Vec<Seat>,
    collections: AtomicI64,
}

impl World {
    /// Starts everything. Named stores in one process will make the second cluster needless, and pairs of two S3 possible.
    pub(crate) async fn start() -> Self {
        let starts: [(usize, fn() -> Server); 4] =
            [(0, seaweed::start), (1, moto::start), (0, azurite::start), (0, gcs::start)];
        let starting: Vec<(usize, JoinHandle<Server>)> =
            starts.into_iter().map(|(cluster, start)| (cluster, std::thread::spawn(start))).collect();
        let seats: Vec<Seat> = starting.into_iter().map(|(cluster, server)| Seat::of(cluster, server)).collect();
        let mut clusters = Vec::new();
        // One node is enough where the stores are what a story is about.
        for (number, nodes) in [3, 1].into_iter().enumerate() {
            let mut cluster = Cluster::prepare(nodes, &[]);
            let reached = seats.iter().filter(|seat| seat.is_reached_from(number));
            cluster.set_environment(reached.flat_map(|it| it.server.environment_by(it.relay.address())).collect());
            cluster.start_all().await;
            WORKERS.iter().for_each(|name| cluster.start_worker(name, SLOTS));
            tree::make(&cluster.path(LARGE), SEGMENTS, LARGE_FILE_BYTES);
            tree::make(&cluster.path(LONG), SEGMENTS, LONG_FILE_BYTES);
            clusters.push(cluster);
        }
        Self { clusters, seats, collections: AtomicI64::new(201) }
    }

    /// Names and versions of the servers.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.seats.iter().map(|seat| seat.server.name()).collect()
    }

    /// The cluster in which a server's own cases run.
    pub(crate) fn cluster(&self, seat: &Seat) -> &Cluster {
        &self.clusters[seat.cluster]
    }

    /// The cluster that reaches both; none if they are two of one kind.
    pub(crate) fn cluster_of_both(&self, one: Option<&Seat>, other: Option<&Seat>) -> Option<&Cluster> {
        let reach = |number: usize| [one, other].into_iter().flatten().all(|seat| seat.is_reached_from(number));
        (0..self.clusters.len()).find(|number| reach(*number)).map(|number| &self.clusters[number])
    }

    /// A tree of objects of several parts.
    pub(crate) fn large(&self, seat: &Seat) -> PathBuf {
        self.cluster(seat).path(LARGE)
    }

    /// A tree of larger ones.
    pub(crate) fn long(&self, seat: &Seat) -> PathBuf {
        self.cluster(seat).path(LONG)
    }

    /// Puts more objects into each server than a page of a listing has, in the layout of a segment.
    pub(crate) fn put_many(&self, prefix: &str) {
        let keys: Vec<String> = (1..=MANY_OBJECTS).map(|log| format!("{prefix}/insert_log/1/2/3/0/{log}")).collect();
        let put = |seat: &Seat| seat.server.put_many(BUCKETS[0], &keys);
        std::thread::scope(|scope| self.seats.iter().for_each(|seat| drop(scope.spawn(move || put(seat)))));
    }

    /// Does the same at every server side by side, since what is waited for is mostly time.
    pub(crate) async fn at_each<'a, T, F: Future<Output = T>>(&'a self, act: impl Fn(&'a Seat) -> F) -> Vec<T> {
        join_all(self.seats.iter().map(act)).await
    }

    /// SIGKILL for every worker; others come in their place.
    pub(crate) fn kill_workers(&mut self) {
        for cluster in &mut self.clusters {
            WORKERS.iter().for_each(|name| cluster.kill_worker(name));
            WORKERS.iter().for_each(|name| cluster.start_worker(name, SLOTS));
        }
    }

    pub(crate) fn request(&self, source: &str, target: &str, options: JobOptions) -> SubmitJobRequest {
        let collection_id = self.collections.fetch_add(1, Ordering::Relaxed);
        SubmitJobRequest {
            source: Some(SnapshotRef { uri: source.to_owned() }),
            target: Some(TargetRef { uri: target.to_owned(), collection_id, ..Default::default() }),
            options: Some(options),
            ..Default::default()
        }
    }

    /// A job to its good end.
    pub(crate) async fn restored(&self, cluster: &Cluster, source: &str, target: &str) -> Job {
        let job_id = cluster.submit(self.request(source, target, JobOptions::default())).await;
        let job = cluster.ended(job_id).await;
        assert_eq!(job.state(), JobState::Completed, "{source} -> {target}: {job:?}");
        assert!(job.snapshot_uri.starts_with(target), "{job:?}");
        job
    }
}

impl Seat {
    fn of(cluster: usize, server: JoinHandle<Server>) -> Self {
        let server = server.join().expect("the server starts");
        BUCKETS.iter().for_each(|bucket| server.make_bucket(bucket));
        Self { relay: Relay::start(server.address()), server, cluster }
    }

    fn is_reached_from(&self, cluster: usize) -> bool {
        self.cluster == cluster || self.server.scheme() != "s3"
    }

    pub(crate) fn uri(&self, prefix: &str) -> String {
        self.server.uri(BUCKETS[0], prefix)
    }

    /// What lies below a prefix, without the files of snapshots, as the cloud's own client reads it.
    pub(crate) fn contents(&self, bucket: &str, prefix: &str) -> Contents {
        let keys = self.server.keys(bucket, &format!("{prefix}/"));
        let data = keys.iter().filter(|key| !key.starts_with(&format!("{prefix}/snapshots/")));
        contents(data.map(|key| self.server.object(bucket, key)))
    }
}

fn contents(objects: impl Iterator<Item = Vec<u8>>) -> Contents {
    let mut contents = BTreeMap::new();
    for content in objects {
        *contents.entry(content).or_default() += 1;
    }
    contents
}

/// The same of a folder.
pub(crate) fn in_folder(root: &Path) -> Contents {
    contents(tree::data_files(root).iter().map(|file| std::fs::read(root.join(file)).expect("a file can be read")))
}

/// Fails with few words: contents are long.
pub(crate) fn assert_same(found: &Contents, expected: &Contents, what: &str) {
    let sizes = |contents: &Contents| contents.keys().map(Vec::len).collect::<Vec<_>>();
    assert!(found == expected, "{what}: sizes {:?} instead of {:?}", sizes(found), sizes(expected));
}

pub(crate) fn sample_uri() -> String {
    file_uri(&sample())
}
