//! Clients that submit, allocate and wait for results, and remember what was acknowledged to them: none of it may be
//! gone or differ later, whatever became of the nodes.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::{AllocateIdsRequest, GetJobRequest, JobOptions, JobState, SubmitJobRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// Segments of each job, all in one task.
const SEGMENTS: i64 = 2;
const FILE_BYTES: usize = 512;
/// More than a third of the leader's window: every third allocation goes through the log.
const IDS: u32 = 4_000;
/// Labels make an entry of 12 KiB, so that a log grows beyond what RocksDB has allocated for it.
pub(crate) const LABELS: usize = 60;
/// After a refusal, so that clients do not keep the cores from the nodes.
const PAUSE: Duration = Duration::from_millis(20);

/// What clients were told.
#[derive(Debug, Default)]
struct Acknowledged {
    jobs: BTreeMap<String, i64>,
    completed: BTreeSet<i64>,
    ids: Vec<i64>,
}

/// The clients; they stop when dropped.
pub(crate) struct Load {
    channels: Vec<Channel>,
    source: PathBuf,
    targets: PathBuf,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Acknowledged>>,
    tasks: Vec<JoinHandle<()>>,
}

/// How much was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) jobs: usize,
    pub(crate) completed: usize,
    pub(crate) allocations: usize,
}

impl Load {
    /// Makes a snapshot, starts a worker, and lets the clients go.
    pub(crate) fn start(cluster: &mut Cluster) -> Self {
        let (source, targets) = (cluster.path("source"), cluster.path("targets"));
        tree::make(&source, SEGMENTS, FILE_BYTES);
        cluster.start_worker("busy", 4);
        let channels = cluster.addresses().keys().map(|id| cluster.channel(*id)).collect();
        let mut load =
            Self { channels, source, targets, stop: Arc::default(), told: Arc::default(), tasks: Vec::new() };
        load.resume();
        load
    }

    /// Lets the clients go on.
    pub(crate) fn resume(&mut self) {
        self.stop = Arc::default();
        let round = self.told().jobs.len();
        for client in 0..2 {
            self.tasks.push(tokio::spawn(self.clients().submit(format!("{round}-{client}"))));
        }
        self.tasks.push(tokio::spawn(self.clients().allocate()));
        self.tasks.push(tokio::spawn(self.clients().look()));
    }

    /// Stops the clients; an answer that is on its way still counts.
    pub(crate) async fn pause(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.expect("a client does not fail");
        }
    }

    /// How much was acknowledged so far.
    pub(crate) fn counts(&self) -> Counts {
        let told = self.told();
        Counts { jobs: told.jobs.len(), completed: told.completed.len(), allocations: told.ids.len() }
    }

    /// Waits until so many more jobs are acknowledged, and at least one more is known to be completed.
    pub(crate) async fn progress(&self, jobs: usize) {
        let before = self.counts();
        eventually("acknowledged work", || async {
            let now = self.counts();
            (now.jobs >= before.jobs + jobs && now.completed > before.completed).then_some(())
        })
        .await;
    }

    /// One of the jobs that were acknowledged.
    pub(crate) fn some_job(&self) -> i64 {
        *self.told().jobs.values().next_back().expect("a job was acknowledged")
    }

    /// Everything that was acknowledged is there on every running node, and every id was given once. The clients must
    /// be paused.
    pub(crate) async fn assert_kept(&self, cluster: &Cluster) {
        let (jobs, completed, ids) = {
            let told = self.told();
            (told.jobs.clone(), told.completed.clone(), told.ids.clone())
        };
        assert_unique(ids);
        for node in cluster.running() {
            for (request_id, job_id) in &jobs {
                let job = eventually("an acknowledged job", || async { cluster.job(node, *job_id).await.ok() }).await;
                assert_eq!(&job.name, request_id, "node {node}: job {job_id} is another's");
                let is_completed = job.state() == JobState::Completed;
                assert!(
                    is_completed || !completed.contains(job_id),
                    "node {node}: {job_id} was Completed, now {job:?}"
                );
            }
        }
        // The same request is the same job for ever.
        let (request_id, job_id) = jobs.first_key_value().expect("a job was acknowledged");
        let (clients, turns) = (self.clients(), AtomicUsize::new(0));
        let again = eventually("an answer", || async {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            clients.try_submit(request_id, turn).await
        })
        .await;
        assert_eq!(again, *job_id, "{request_id} was submitted twice");
        for job_id in jobs.values() {
            assert_eq!(cluster.ended(*job_id).await.state(), JobState::Completed, "job {job_id}");
        }
        eprintln!("kept: {:?}", self.counts());
    }

    fn told(&self) -> MutexGuard<'_, Acknowledged> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> Clients {
        Clients {
            channels: self.channels.clone(),
            source: self.source.clone(),
            targets: self.targets.clone(),
            stop: Arc::clone(&self.stop),
            told: Arc::clone(&self.told),
        }
    }
}

fn assert_unique(mut ids: Vec<i64>) {
    ids.sort_unstable();
    for pair in ids.windows(2) {
        assert!(pair[1] - pair[0] >= i64::from(IDS), "ids from {} were given twice", pair[1]);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What one client knows.
struct Clients {
    channels: Vec<Channel>,
    source: PathBuf,
    targets: PathBuf,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Acknowledged>>,
}

impl Clients {
    async fn submit(self, name: String) {
        let mut number = 0;
        let mut turn = 0;
        while !self.stops() {
            let request_id = format!("{name}-{number}");
            match self.try_submit(&request_id, turn).await {
                Some(job_id) => {
                    let former = self.told().jobs.insert(request_id, job_id);
                    assert_eq!(former, None, "a request id is used once");
                    number += 1;
                }
                None => {
                    turn += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn try_submit(&self, request_id: &str, turn: usize) -> Option<i64> {
        let labels = (0..LABELS).map(|label| (format!("label-{label}"), "x".repeat(200))).collect();
        let request = SubmitJobRequest {
            request_id: request_id.to_owned(),
            name: request_id.to_owned(),
            options: Some(JobOptions { labels, ..Default::default() }),
            ..submit_request(&self.source, &self.targets.join(request_id), 500)
        };
        let mut client = JobServiceClient::new(self.channel(turn));
        client.submit_job(request).await.ok()?.into_inner().job.map(|job| job.job_id)
    }

    async fn allocate(self) {
        let mut turn = 0;
        while !self.stops() {
            let request = AllocateIdsRequest { count: IDS };
            let mut client = AllocatorServiceClient::new(self.channel(turn));
            match client.allocate_ids(request).await {
                Ok(answer) => self.told().ids.push(answer.into_inner().first_id),
                Err(_) => turn += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for the jobs that are not known to be completed yet.
    async fn look(self) {
        let mut turn = 0;
        while !self.stops() {
            let open: Vec<i64> = {
                let told = self.told();
                told.jobs.values().filter(|job_id| !told.completed.contains(job_id)).copied().collect()
            };
            for job_id in open.into_iter().take(20) {
                let request = GetJobRequest { job_id, consistency: 0 };
                let mut client = JobServiceClient::new(self.channel(turn));
                match client.get_job(request).await {
                    Ok(answer) => {
                        let job = answer.into_inner().job.expect("an answer has a job");
                        if job.state() == JobState::Completed {
                            self.told().completed.insert(job_id);
                        }
                    }
                    Err(_) => turn += 1,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn channel(&self, turn: usize) -> Channel {
        self.channels[turn % self.channels.len()].clone()
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn told(&self) -> MutexGuard<'_, Acknowledged> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
