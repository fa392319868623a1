//! A job that runs while something is done to its cluster: it has copied something, and has most still to do.

use crate::cluster::{Cluster, submit_request};
use crate::tree;
use ferry_proto::v1::{JobOptions, JobState};
use std::path::PathBuf;

const SEGMENTS: i64 = 40;
const FILE_BYTES: usize = 64 * 1024;
/// The job lasts some seconds: long enough to change the cluster under it.
const BANDWIDTH_BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;
const COLLECTION: i64 = 200;

/// The job.
pub struct RunningJob {
    source: PathBuf,
    target: PathBuf,
    /// Its id.
    pub job_id: i64,
}

impl RunningJob {
    /// Starts these workers, submits with these options, but a pace and tasks of its own, and waits for the first copies.
    ///
    /// # Panics
    /// When the job is not accepted or does not begin.
    pub async fn begin(cluster: &mut Cluster, workers: &[&str], options: JobOptions) -> Self {
        let (source, target) = (cluster.path("source"), cluster.path("target"));
        tree::make(&source, SEGMENTS, FILE_BYTES);
        for worker in workers {
            cluster.start_worker(worker, 2);
        }
        let mut request = submit_request(&source, &target, COLLECTION);
        request.options = Some(JobOptions {
            segments_per_task_max: 2,
            bandwidth_bytes_per_second: BANDWIDTH_BYTES_PER_SECOND,
            ..options
        });
        let leader = cluster.leader().await;
        let answer = cluster.jobs(leader).submit_job(request).await.expect("the submit is accepted");
        let job_id = answer.into_inner().job.expect("an answer has a job").job_id;
        cluster.job_when(job_id, "the beginning of the job", |job| job.copied_segments >= 2).await;
        Self { source, target, job_id }
    }

    /// It completes, with every copy equal to its source, and nothing lost on the way.
    ///
    /// # Panics
    /// When it does not.
    pub async fn completes(&self, cluster: &Cluster) {
        let job = cluster.ended(self.job_id).await;
        assert_eq!(job.state(), JobState::Completed, "{job:?}");
        let leader = cluster.leader().await;
        let targets = cluster.targets(leader, self.job_id).await.expect("the leader knows the targets");
        assert_eq!(targets.len(), usize::try_from(SEGMENTS).expect("small"));
        for segment in &targets {
            let (from, to) = (segment.source_segment_id, segment.segment_id);
            tree::assert_copied(&self.source, &self.target, from, to, COLLECTION);
        }
    }
}
