//! A cluster of real processes: nodes with real disks and sockets, workers, and plain gRPC clients to each of them.

use crate::faults::{Disk, Shim};
use crate::process::{Launch, Process, free_address};
use crate::{eventually, file_uri};
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::{
    CheckInvariantsRequest, GetJobRequest, GetStatusRequest, Job, JobState, ListSegmentsRequest, Segment, SnapshotRef,
    SubmitJobRequest, TargetRef,
};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub mod figures;
mod storage;
mod work;

/// Nodes and workers; all killed when dropped.
pub struct Cluster {
    // Fields are dropped in this order: a disk can be unmounted, and a folder removed, only once nobody uses it.
    nodes: BTreeMap<u64, Process>,
    workers: BTreeMap<String, Process>,
    disks: BTreeMap<u64, Disk>,
    /// By the names of processes, such as `node-1` or `worker-left`, which are those of their logs too.
    shims: BTreeMap<String, Shim>,
    launches: BTreeMap<String, Launch>,
    environment: Vec<(String, String)>,
    settings: Vec<String>,
    /// The nodes that the cluster began with.
    founders: BTreeMap<u64, String>,
    /// All nodes there ever were.
    addresses: BTreeMap<u64, String>,
    dir: TempDir,
}

impl Cluster {
    /// Starts `nodes` nodes and waits until one leads.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start(nodes: u64) -> Self {
        Self::start_with(nodes, &[]).await
    }

    /// The same, with settings of the configuration file as `KEY=VALUE`.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start_with(nodes: u64, settings: &[&str]) -> Self {
        let mut cluster = Self::prepare(nodes, settings);
        cluster.start_all().await;
        cluster
    }

    /// The same, before any node is started, so that nodes can be given disks and faults of their own.
    ///
    /// # Panics
    /// When no folder can be made.
    #[must_use]
    pub fn prepare(nodes: u64, settings: &[&str]) -> Self {
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect();
        let dir = tempfile::tempdir().expect("a folder can be made");
        let founders: BTreeMap<u64, String> = (1..=nodes).map(|id| (id, free_address())).collect();
        Self {
            nodes: BTreeMap::new(),
            workers: BTreeMap::new(),
            disks: BTreeMap::new(),
            shims: BTreeMap::new(),
            launches: BTreeMap::new(),
            environment: Vec::new(),
            settings,
            addresses: founders.clone(),
            founders,
            dir,
        }
    }

    /// Starts every node that the cluster begins with and waits until one leads.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start_all(&mut self) {
        for id in self.founders.keys().copied().collect::<Vec<_>>() {
            self.start_node(id);
        }
        self.leader().await;
    }

    /// What a node is started with from its next start on.
    pub fn launch(&mut self, id: u64) -> &mut Launch {
        self.launch_of(&format!("node-{id}"))
    }

    /// Starts a node, for the first time or again: one of those that the cluster began with knows all of them, one that
    /// came later knows nobody.
    pub fn start_node(&mut self, id: u64) {
        let data_dir = self.data_folder(id);
        let mut arguments = [
            "server",
            "--id",
            &id.to_string(),
            "--data-dir",
            &data_dir.to_string_lossy(),
            "--listen",
            &self.addresses[&id],
            "--admin-listen",
            "127.0.0.1:0",
        ]
        .map(str::to_owned)
        .to_vec();
        if self.founders.contains_key(&id) {
            let peers: Vec<String> = self.founders.iter().map(|(id, address)| format!("{id}={address}")).collect();
            arguments.extend(["--peers".to_owned(), peers.join(",")]);
        }
        arguments.extend_from_slice(&self.settings);
        let process = self.start_process(&format!("node-{id}"), &arguments);
        self.nodes.insert(id, process);
    }

    /// Starts a node that knows nobody and waits to be added.
    pub fn start_newcomer(&mut self, id: u64) {
        self.addresses.insert(id, free_address());
        self.start_node(id);
    }

    /// Gives a running node away: it does not count as one that runs any more.
    ///
    /// # Panics
    /// When it does not run.
    pub fn take_node(&mut self, id: u64) -> Process {
        self.nodes.remove(&id).expect("the node runs")
    }

    /// SIGTERM for a node, and waits until it has ended; its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop_node(&mut self, id: u64) -> Option<i32> {
        self.nodes.remove(&id).expect("the node runs").terminate()
    }

    /// A node is dead and its folder empty.
    ///
    /// # Panics
    /// When it does not run, or its folder cannot be removed.
    pub fn wipe_node(&mut self, id: u64) {
        self.kill_node(id);
        std::fs::remove_dir_all(self.data_folder(id)).expect("the folder can be removed");
    }

    /// SIGKILL for a node.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_node(&mut self, id: u64) {
        self.nodes.remove(&id).expect("the node runs").kill();
    }

    /// SIGSTOP for a node: it does nothing any more, and nobody is told.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze_node(&self, id: u64) {
        self.nodes.get(&id).expect("the node runs").freeze();
    }

    /// SIGCONT for a node: it goes on as if no time had passed.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw_node(&self, id: u64) {
        self.nodes.get(&id).expect("the node runs").signal(Signal::SIGCONT);
    }

    /// A node's process.
    pub fn node(&mut self, id: u64) -> &mut Process {
        self.nodes.get_mut(&id).expect("the node runs")
    }

    /// Gives every process that was not started yet these variables in its environment.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    fn launch_of(&mut self, process: &str) -> &mut Launch {
        let environment = &self.environment;
        let launch = || Launch::default().with(environment.iter().cloned());
        self.launches.entry(process.to_owned()).or_insert_with(launch)
    }

    fn start_process(&mut self, name: &str, arguments: &[String]) -> Process {
        let log = self.path(&format!("{name}.log"));
        self.launch_of(name).start(arguments, &log)
    }

    /// What a worker printed so far.
    #[must_use]
    pub fn worker_log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("worker-{name}.log"))).unwrap_or_default()
    }

    /// A node's own view, while it runs.
    pub async fn leads(&self, id: u64) -> bool {
        let status = self.status(id).get_status(GetStatusRequest { local_only: true }).await;
        status.is_ok_and(|status| status.get_ref().leader_id == id)
    }

    /// The node that leads, once one other than these says so of itself.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leader_but(&self, but: &[u64]) -> u64 {
        eventually("another leader", || async {
            for id in self.running().into_iter().filter(|id| !but.contains(id)) {
                if self.leads(id).await {
                    return Some(id);
                }
            }
            None
        })
        .await
    }

    /// SIGKILL for a worker.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_worker(&mut self, name: &str) {
        self.workers.remove(name).expect("the worker runs").kill();
    }

    /// A path in the cluster's own folder, which goes with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Client addresses by node.
    #[must_use]
    pub fn addresses(&self) -> &BTreeMap<u64, String> {
        &self.addresses
    }

    /// All addresses, as the command line takes them.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.addresses.values().cloned().collect::<Vec<_>>().join(",")
    }

    /// Nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// A connection to one node.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn channel(&self, id: u64) -> Channel {
        let uri = format!("http://{}", self.addresses[&id]);
        let endpoint = Endpoint::from_shared(uri).expect("an address makes a URI");
        endpoint.timeout(Duration::from_secs(10)).connect_timeout(Duration::from_secs(2)).connect_lazy()
    }

    /// The same for a stream, which lasts.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn channel_for_sessions(&self, id: u64) -> Channel {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", self.addresses[&id])).expect("an address makes a URI");
        endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy()
    }

    /// Jobs, asked of one node.
    #[must_use]
    pub fn jobs(&self, id: u64) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel(id))
    }

    /// Segments, asked of one node.
    #[must_use]
    pub fn segments(&self, id: u64) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel(id))
    }

    /// Ids, asked of one node.
    #[must_use]
    pub fn ids(&self, id: u64) -> AllocatorServiceClient<Channel> {
        AllocatorServiceClient::new(self.channel(id))
    }

    /// The cluster, asked of one node.
    #[must_use]
    pub fn status(&self, id: u64) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel(id))
    }

    /// The node that leads, as soon as a running node says so of itself.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leader(&self) -> u64 {
        self.leader_but(&[]).await
    }

    /// A job as a node answers with the default consistency.
    ///
    /// # Errors
    /// The status that the node answered with.
    pub async fn job(&self, node: u64, job_id: i64) -> Result<Job, Status> {
        let answer = self.jobs(node).get_job(GetJobRequest { job_id, consistency: 0 }).await?;
        answer.into_inner().job.ok_or_else(|| Status::internal("an answer without a job"))
    }

    /// The job once a state is reached that `is` accepts, asked of any running node.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn job_when(&self, job_id: i64, what: &str, is: impl Fn(&Job) -> bool) -> Job {
        eventually(what, || async {
            for id in self.running() {
                if let Ok(job) = self.job(id, job_id).await {
                    return is(&job).then_some(job);
                }
            }
            None
        })
        .await
    }

    /// The job at its end.
    pub async fn ended(&self, job_id: i64) -> Job {
        let ended = |job: &Job| matches!(job.state(), JobState::Completed | JobState::Failed | JobState::Canceled);
        self.job_when(job_id, "the end of the job", ended).await
    }

    /// All targets of a job, asked of one node.
    ///
    /// # Errors
    /// The status that the node answered with.
    pub async fn targets(&self, node: u64, job_id: i64) -> Result<Vec<Segment>, Status> {
        let mut client = self.segments(node);
        let mut targets = Vec::new();
        let mut request = ListSegmentsRequest { job_id, page_size: 1_000, ..Default::default() };
        loop {
            let page = client.list_segments(request.clone()).await?.into_inner();
            targets.extend(page.segments);
            if page.next_page_token.is_empty() {
                return Ok(targets);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Every invariant holds on every running node.
    ///
    /// # Panics
    /// When one does not, naming it.
    pub async fn assert_sound(&self) {
        for id in self.running() {
            let check = eventually("a check of the invariants", || async {
                self.status(id).check_invariants(CheckInvariantsRequest::default()).await.ok()
            });
            let violations = check.await.into_inner().violations;
            assert!(violations.is_empty(), "node {id}: {violations:?}");
        }
    }
}

/// A submit of every segment of a snapshot.
#[must_use]
pub fn submit_request(source: &Path, target: &Path, collection_id: i64) -> SubmitJobRequest {
    SubmitJobRequest {
        source: Some(SnapshotRef { uri: file_uri(source) }),
        target: Some(TargetRef { uri: file_uri(target), collection_id, ..Default::default() }),
        ..Default::default()
    }
}
