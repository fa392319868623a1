//! S37 on real nodes: jobs are settled and collected while readers page through them on every node.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{
    CancelJobRequest, Job, JobOptions, JobState, ListJobsRequest, ListSegmentsRequest, ListTasksRequest, Segment,
    SegmentState, Task,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// More than a page of what one entry settles or collects.
const SEGMENTS: i64 = 600;
const SEGMENTS_PER_TASK: usize = 10;
const JOBS: i64 = 12;
const COLLECTION: i64 = 200;
/// The shortest in which a job can be read at all on a slow machine.
const RETENTION: Duration = Duration::from_millis(700);

/// What the readers have done.
#[derive(Default)]
struct Counts {
    whole: AtomicU64,
    /// Jobs that went away while somebody paged through them.
    cut_short: AtomicU64,
}

struct Readers {
    cluster: Cluster,
    /// When each job was ended, at the earliest.
    ended: Mutex<BTreeMap<i64, Instant>>,
    counts: Counts,
    stop: AtomicBool,
}

impl Readers {
    async fn read(self: Arc<Self>, node: u64) {
        let mut jobs = self.cluster.jobs(node);
        while !self.stop.load(Ordering::Relaxed) {
            let listed = jobs.list_jobs(ListJobsRequest::default()).await.expect("jobs are listed").into_inner().jobs;
            for job in listed {
                self.read_job(node, &job).await;
            }
        }
    }

    /// Everything of a job, page by page: all of it, or word that it is gone.
    async fn read_job(&self, node: u64, job: &Job) {
        let (tasks, targets) = (self.tasks(node, job.job_id).await, self.targets(node, job.job_id).await);
        match (tasks, targets) {
            (Ok(tasks), Ok(targets)) => {
                // One that was canceled while its tasks were made has those that there were.
                let created = matches!(job.state(), JobState::Executing | JobState::Completed);
                let tasks_expected = usize::try_from(SEGMENTS).expect("small") / SEGMENTS_PER_TASK + 1;
                assert!(!created || tasks.len() == tasks_expected, "{} tasks of {job:?}", tasks.len());
                assert!(tasks.len() <= tasks_expected, "{} tasks of {job:?}", tasks.len());
                // The last one publishes; one that was canceled early lacks it.
                let copies = tasks.iter().take(tasks_expected - 1);
                assert!(
                    copies.into_iter().all(|task| task.id_mappings.len() == SEGMENTS_PER_TASK),
                    "a task lacks mappings"
                );
                assert_eq!(targets.len(), usize::try_from(SEGMENTS).expect("small"), "targets of {job:?}");
                self.counts.whole.fetch_add(1, Ordering::Relaxed);
            }
            (Err(status), _) | (_, Err(status)) => {
                assert_eq!(status.code(), Code::NotFound, "{status:?}");
                self.is_gone(node, job.job_id).await;
            }
        }
    }

    /// A job that is gone is gone for good, and was there for its whole retention.
    async fn is_gone(&self, node: u64, job_id: i64) {
        let status = self.cluster.job(node, job_id).await.expect_err("a job that is gone stays so");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        let ended = self.ended.lock().expect("no reader panics").get(&job_id).copied();
        let ended = ended.expect("a job that was never ended is not collected");
        assert!(ended.elapsed() >= RETENTION, "job {job_id} is collected {:?} after its end", ended.elapsed());
        self.counts.cut_short.fetch_add(1, Ordering::Relaxed);
    }

    async fn tasks(&self, node: u64, job_id: i64) -> Result<Vec<Task>, Status> {
        let (mut client, mut tasks) = (self.cluster.jobs(node), Vec::new());
        let mut request = ListTasksRequest { job_id, page_size: 20, ..Default::default() };
        loop {
            let page = client.list_tasks(request.clone()).await?.into_inner();
            tasks.extend(page.tasks);
            if page.next_page_token.is_empty() {
                return Ok(tasks);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All targets, those of one page in one state: a job's end changes all of them at once.
    async fn targets(&self, node: u64, job_id: i64) -> Result<Vec<Segment>, Status> {
        let (mut client, mut targets) = (self.cluster.segments(node), Vec::new());
        let mut request = ListSegmentsRequest { job_id, page_size: 200, ..Default::default() };
        loop {
            let page = client.list_segments(request.clone()).await?.into_inner();
            let first = page.segments.first().map(Segment::state);
            assert!(page.segments.iter().all(|target| Some(target.state()) == first), "targets in several states");
            targets.extend(page.segments);
            if page.next_page_token.is_empty() {
                return Ok(targets);
            }
            request.page_token = page.next_page_token;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s37_readers_see_all_of_a_job_or_none_of_it_while_jobs_are_settled_and_collected() {
    let mut cluster = Cluster::start(3).await;
    let source = cluster.path("source");
    tree::make(&source, SEGMENTS, 10);
    cluster.start_worker("only", 4);
    let nodes = cluster.running();
    let (ended, counts, stop) = (Mutex::default(), Counts::default(), AtomicBool::new(false));
    let readers = Arc::new(Readers { cluster, ended, counts, stop });
    let reading: Vec<_> = nodes.iter().map(|node| tokio::spawn(Arc::clone(&readers).read(*node))).collect();
    let cluster = &readers.cluster;
    let mut published = 0;
    for number in 0..JOBS {
        // Every sixth completes, the others are canceled before anything is copied.
        let completes = number % 6 == 0;
        let mut request = submit_request(&source, &cluster.path(&format!("target-{number}")), COLLECTION + number);
        let retention_ms = u64::try_from(RETENTION.as_millis()).expect("small");
        request.options = Some(JobOptions { retention_ms, start_paused: !completes, ..Default::default() });
        let mut jobs = cluster.jobs(cluster.leader().await);
        let begun = Instant::now();
        let answer = jobs.submit_job(request).await.expect("the submit is accepted").into_inner();
        let job_id = answer.job.expect("an answer has a job").job_id;
        readers.ended.lock().expect("no reader panics").insert(job_id, begun);
        if completes {
            published += usize::try_from(SEGMENTS).expect("small");
        } else {
            readers.ended.lock().expect("no reader panics").insert(job_id, Instant::now());
            jobs.cancel_job(CancelJobRequest { job_id }).await.expect("the job is canceled");
        }
    }
    eventually("the end of every retention", || async {
        let leader = cluster.leader().await;
        let listed = cluster.jobs(leader).list_jobs(ListJobsRequest::default()).await.ok()?.into_inner().jobs;
        listed.is_empty().then_some(())
    })
    .await;
    readers.stop.store(true, Ordering::Relaxed);
    for reader in reading {
        reader.await.expect("no reader saw what must not be");
    }
    let (whole, cut_short) = (&readers.counts.whole, &readers.counts.cut_short);
    println!("{whole:?} jobs read as a whole, {cut_short:?} went away under their readers");
    assert!(whole.load(Ordering::Relaxed) >= 20 && cut_short.load(Ordering::Relaxed) > 0, "{whole:?}, {cut_short:?}");
    for node in nodes {
        let left = all_segments(cluster, node).await;
        assert_eq!(left.len(), published, "what was published stays, on node {node}");
        assert!(left.iter().all(|target| target.state() == SegmentState::Flushed));
    }
    cluster.assert_sound().await;
}

async fn all_segments(cluster: &Cluster, node: u64) -> Vec<Segment> {
    let (mut client, mut targets) = (cluster.segments(node), Vec::new());
    let mut request = ListSegmentsRequest { page_size: 1_000, ..Default::default() };
    loop {
        let page = client.list_segments(request.clone()).await.expect("targets are listed").into_inner();
        targets.extend(page.segments);
        if page.next_page_token.is_empty() {
            return targets;
        }
        request.page_token = page.next_page_token;
    }
}
