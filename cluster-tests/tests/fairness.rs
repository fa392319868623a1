//! S26 on real nodes and workers: whose tasks begin, in which order, by the stamps of their starts. What is compared are
//! counts and never durations, so a slow machine changes nothing.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::tree;
use ferry_proto::v1::{JobOptions, JobState, SubmitJobRequest, UpdateJobRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;

const FILE_BYTES: usize = 256;

struct Story {
    cluster: Cluster,
    source: PathBuf,
}

impl Story {
    /// A cluster without workers, so that every job is there before the first task begins.
    async fn start(segments: i64) -> Self {
        let cluster = Cluster::start(3).await;
        let source = cluster.path("source");
        tree::make(&source, segments, FILE_BYTES);
        Self { cluster, source }
    }

    /// A job of one task for each segment, once all of its tasks exist.
    async fn submit(&self, collection: i64, priority: i32) -> i64 {
        let target = self.cluster.path(&format!("target-{collection}"));
        let options = JobOptions { segments_per_task_max: 1, priority: Some(priority), ..Default::default() };
        let request = SubmitJobRequest { options: Some(options), ..submit_request(&self.source, &target, collection) };
        let job_id = self.cluster.submit(request).await;
        self.cluster.job_when(job_id, "its tasks", |job| job.state() == JobState::Executing).await;
        job_id
    }

    /// The jobs in the order in which their tasks began: those of one moment together.
    async fn starts(&self, jobs: &[i64]) -> Vec<Vec<i64>> {
        let mut starts: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for job_id in jobs {
            let tasks = self.cluster.copies(*job_id).await;
            for task in tasks.iter().filter(|task| task.started_at_ms > 0) {
                assert!(task.attempt <= 1, "every task runs once: {task:?}");
                starts.entry(task.started_at_ms).or_default().push(*job_id);
            }
        }
        starts.into_values().collect()
    }

    async fn complete(&self, jobs: &[i64]) {
        for job_id in jobs {
            assert_eq!(self.cluster.ended(*job_id).await.state(), JobState::Completed, "job {job_id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s26_of_two_jobs_with_priority_90_and_10_the_first_gets_nine_starts_for_one_of_the_second() {
    let mut story = Story::start(100).await;
    let low = story.submit(201, 10).await;
    let high = story.submit(202, 90).await;
    story.cluster.start_worker("only", 2);
    story.complete(&[low, high]).await;
    let order: Vec<i64> = story.starts(&[low, high]).await.concat();
    let first = &order[..90];
    let of_high = first.iter().filter(|job| **job == high).count();
    println!("priority 90: {of_high} of the first {} starts, priority 10: {}", first.len(), first.len() - of_high);
    // A share is proportional to priority + 1: 91 of 102 starts, which are 80.3 of 90.
    assert!((78..=83).contains(&of_high), "{of_high} of 90: {first:?}");
    let lowest: Vec<usize> = (0..order.len()).filter(|place| order[*place] == low).collect();
    assert!(lowest[0] <= 10, "the lower one is served from the beginning: {order:?}");
    let gaps = lowest.windows(2).map(|pair| pair[1] - pair[0]).take(9);
    assert!(gaps.clone().all(|gap| gap <= 12), "and does not starve: {:?}", gaps.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn s26_ten_equal_jobs_on_two_workers_begin_their_tasks_in_turn() {
    let mut story = Story::start(12).await;
    let mut jobs = Vec::new();
    for collection in 201..=210 {
        jobs.push(story.submit(collection, 50).await);
    }
    story.cluster.start_worker("left", 2);
    story.cluster.start_worker("right", 2);
    story.complete(&jobs).await;
    let mut begun: BTreeMap<i64, usize> = jobs.iter().map(|job| (*job, 0)).collect();
    let (mut apart_max, mut moments) = (0, 0);
    for moment in story.starts(&jobs).await {
        for job in moment {
            *begun.entry(job).or_default() += 1;
        }
        let most = begun.values().max().copied().unwrap_or_default();
        let fewest = begun.values().min().copied().unwrap_or_default();
        apart_max = apart_max.max(most - fewest);
        moments += 1;
    }
    println!("{moments} moments at which tasks began; two jobs were {apart_max} starts apart at most");
    assert!(apart_max <= 1, "no job begins a task before every other has begun as many");
    assert!(begun.values().all(|count| *count == 12), "{begun:?}");
    let mut workers: Vec<i64> = Vec::new();
    for job in &jobs {
        workers.extend(story.cluster.copies(*job).await.iter().map(|task| task.attempts[0].worker_id));
    }
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers.len(), 2, "both workers had their part");
}

#[tokio::test(flavor = "multi_thread")]
async fn s26_a_new_priority_counts_for_a_job_that_runs() {
    let mut story = Story::start(100).await;
    let falls = story.submit(201, 50).await;
    let rises = story.submit(202, 50).await;
    story.cluster.start_worker("only", 1);
    story.cluster.job_when(rises, "the first copies", |job| job.copied_segments >= 5).await;
    for (job_id, priority) in [(falls, 0), (rises, 100)] {
        let change = UpdateJobRequest { job_id, priority: Some(priority), ..Default::default() };
        story.cluster.update(change).await;
    }
    let before: usize = story.starts(&[falls, rises]).await.iter().map(Vec::len).sum();
    story.complete(&[falls, rises]).await;
    let order: Vec<i64> = story.starts(&[falls, rises]).await.concat();
    let last = order.iter().rposition(|job| *job == rises).expect("it had starts");
    let after = &order[before..last.max(before)];
    let of_falls = after.iter().filter(|job| **job == falls).count();
    println!("{before} starts before the change; of {} after it {of_falls} of the lower one", after.len());
    assert!(after.len() >= 20, "the change came in the middle: {before} starts before it");
    // 101 to 1, and one start that was due by the shares of before.
    assert!(of_falls <= 2, "{of_falls} of {}: {after:?}", after.len());
}
