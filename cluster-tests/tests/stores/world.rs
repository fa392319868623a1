//! Every server, and a cluster that reaches them through relays: one of each kind by its environment, and further ones of S3
//! as named stores.

use cluster_tests::cluster::Cluster;
use cluster_tests::stores::relay::Relay;
use cluster_tests::stores::{Server, Variable, azurite, gcs, moto, s3s, seaweed};
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
/// Together they hold a long upload to every server at once.
const SLOTS: u32 = 6;

/// The name of a store in the settings, if any, and what starts its server.
type Start = (Option<&'static str>, fn() -> Server);

/// How often each content is there.
pub(crate) type Contents = BTreeMap<Vec<u8>, usize>;

/// A server and the relay before it.
pub(crate) struct Seat {
    pub(crate) server: Server,
    pub(crate) relay: Relay,
    /// In the settings; a store that they name is meant by URIs with its endpoint.
    name: Option<&'static str>,
}

/// Fields are dropped in this order: workers end before the stores that they ask.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) seats: Vec<Seat>,
    collections: AtomicI64,
}

impl World {
    /// Starts everything.
    pub(crate) async fn start() -> Self {
        let starts: [Start; 5] = [
            (None, seaweed::start),
            (Some("moto"), moto::start),
            (Some("s3s"), s3s::start),
            (None, azurite::start),
            (None, gcs::start),
        ];
        let starting = starts.map(|(name, start)| (name, std::thread::spawn(start)));
        let seats: Vec<Seat> = starting.into_iter().map(|(name, server)| Seat::of(name, server)).collect();
        let named: Vec<String> =
            seats.iter().flat_map(|seat| seat.settings().into_iter().chain(seat.strangers())).collect();
        // The servers do what they are asked for at once.
        let settings: Vec<&str> = named.iter().map(String::as_str).chain(["leadership.late-writes=5s"]).collect();
        let mut cluster = Cluster::prepare(3, &settings);
        cluster.set_environment(seats.iter().filter(|seat| seat.name.is_none()).flat_map(Seat::environment).collect());
        cluster.start_all().await;
        WORKERS.iter().for_each(|name| cluster.start_worker(name, SLOTS));
        tree::make(&cluster.path(LARGE), SEGMENTS, LARGE_FILE_BYTES);
        tree::make(&cluster.path(LONG), SEGMENTS, LONG_FILE_BYTES);
        Self { cluster, seats, collections: AtomicI64::new(201) }
    }

    /// Names and versions of the servers.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.seats.iter().map(|seat| seat.server.name()).collect()
    }

    /// A tree of objects of several parts.
    pub(crate) fn large(&self) -> PathBuf {
        self.cluster.path(LARGE)
    }

    /// A tree of larger ones.
    pub(crate) fn long(&self) -> PathBuf {
        self.cluster.path(LONG)
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
        WORKERS.iter().for_each(|name| self.cluster.kill_worker(name));
        WORKERS.iter().for_each(|name| self.cluster.start_worker(name, SLOTS));
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
    pub(crate) async fn restored(&self, source: &str, target: &str) -> Job {
        let job_id = self.cluster.submit(self.request(source, target, JobOptions::default())).await;
        let job = self.cluster.ended(job_id).await;
        assert_eq!(job.state(), JobState::Completed, "{source} -> {target}: {job:?}");
        assert!(job.snapshot_uri.starts_with(target), "{job:?}");
        job
    }
}

impl Seat {
    fn of(name: Option<&'static str>, server: JoinHandle<Server>) -> Self {
        let server = server.join().expect("the server starts");
        BUCKETS.iter().for_each(|bucket| server.make_bucket(bucket));
        Self { relay: Relay::start(server.address()), server, name }
    }

    /// What names the store in the settings of nodes and workers, if anything does.
    fn settings(&self) -> Vec<String> {
        let Some(name) = self.name else { return Vec::new() };
        self.server.settings(name, &self.url(), &self.server.credentials_file())
    }

    /// The same server as another named store, whose secret it refuses; it serves a bucket of its own.
    fn strangers(&self) -> Vec<String> {
        let Some(credentials) = self.server.credentials_file_of_a_stranger() else { return Vec::new() };
        let bucket = self.bucket_of_a_stranger();
        // An endpoint means one store alone, so this one is not reached through the relay.
        let url = format!("http://{}", self.server.address());
        let serves = format!("stores.{bucket}.serves=[\"{}://{bucket}\"]", self.server.scheme());
        self.server.settings(&bucket, &url, &credentials).into_iter().chain([serves]).collect()
    }

    /// The bucket that processes ask for with a secret that the server refuses.
    pub(crate) fn bucket_of_a_stranger(&self) -> String {
        let name = self.server.name().split(' ').next().unwrap_or_default();
        format!("wrong-{}", name.to_lowercase())
    }

    /// Where processes of Ferry reach it.
    fn url(&self) -> String {
        format!("http://{}", self.relay.address())
    }

    /// What a process that reaches no other server of its kind needs.
    pub(crate) fn environment(&self) -> Vec<Variable> {
        self.server.environment_by(self.relay.address())
    }

    /// A place in a bucket.
    pub(crate) fn uri_in(&self, bucket: &str, prefix: &str) -> String {
        match self.name.is_some() {
            true => format!("minio://{}/{bucket}/{prefix}", self.relay.address()),
            false => self.server.uri(bucket, prefix),
        }
    }

    pub(crate) fn uri(&self, prefix: &str) -> String {
        self.uri_in(BUCKETS[0], prefix)
    }

    /// A folder of its own for what comes out of it.
    pub(crate) fn folder(&self, world: &World, what: &str) -> PathBuf {
        world.cluster.path(&format!("{what}-from-{}", self.server.name().replace(' ', "-")))
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
