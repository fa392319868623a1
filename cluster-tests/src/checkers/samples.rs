//! Small histories for the checkers' own tests. Times are in milliseconds.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::facts::{JobFact, SegmentFact, TaskFact};
use crate::traffic::history::{Answer, Operation, Outcome, Promise, Request};
use crate::traffic::{Fate, Submission};
use ferry_proto::v1::{CleanupState, JobOptions, JobState, SegmentState, SubmitJobRequest, TaskState};
use std::sync::{Arc, OnceLock};
use tonic::Code;

/// The job that samples are about.
pub(crate) const JOB: i64 = (1 << 40) + 7;

/// A history that a test writes.
#[derive(Default)]
pub(crate) struct Sample {
    pub(crate) operations: Vec<Operation>,
    shared: OnceLock<Vec<Arc<Operation>>>,
}

/// The job as it begins.
pub(crate) fn job(state: JobState) -> JobFact {
    let ended = !crate::traffic::history::is_live(state);
    let completed = state == JobState::Completed;
    JobFact {
        job_id: JOB,
        request_id: "request".into(),
        description: submission("request").description,
        source: 1,
        state,
        reason: if ended && !completed { "why".into() } else { "".into() },
        total_segments: 2,
        copied_segments: if completed { 2 } else { 0 },
        total_rows: 0,
        total_bytes: 0,
        copied_bytes: 0,
        tasks: if completed { [0, 0, 1, 0] } else { [1, 0, 0, 0] },
        paused: false,
        priority: 50,
        bandwidth: 0,
        submitted_at_ms: 1,
        started_at_ms: if state == JobState::Pending { 0 } else { 2 },
        completed_at_ms: if ended { 3 } else { 0 },
        cleanup: CleanupState::NotNeeded,
        progress_percent: if completed { 100 } else { 0 },
        duration_ms: 5,
    }
}

/// What that job was submitted with.
pub(crate) fn submission(request_id: &str) -> Arc<Submission> {
    let options = JobOptions {
        priority: Some(50),
        no_timeout: true,
        retention_ms: 10_000,
        segments_per_task_max: 2,
        ..JobOptions::default()
    };
    let request =
        SubmitJobRequest { request_id: request_id.to_owned(), options: Some(options), ..SubmitJobRequest::default() };
    Arc::new(Submission {
        request_id: request_id.into(),
        request,
        source: "source".into(),
        target: "target".into(),
        mappings: vec![(1_000, 50), (1_001, 51)],
        segments: 2,
        fate: Fate::Completes,
        foreign: None,
        description: 42,
    })
}

/// A target of the job.
pub(crate) fn segment(segment_id: i64, state: SegmentState) -> SegmentFact {
    SegmentFact {
        segment_id,
        job_id: JOB,
        collection_id: 1,
        partition_id: 1,
        source_segment_id: segment_id + 950,
        state,
        num_of_rows: 0,
        size_bytes: 0,
    }
}

/// A task of the job.
pub(crate) fn task(state: TaskState, attempt: u32) -> TaskFact {
    TaskFact {
        task_id: JOB + 1,
        job_id: JOB,
        state,
        attempt,
        worker_id: 0,
        mappings: vec![(1_000, 50)],
        copied_bytes: 0,
        total_bytes: 0,
        failures: 0,
    }
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn trace(&mut self) -> Trace<'_> {
        self.shared = OnceLock::new();
        let operations = self.operations.iter().cloned().map(Arc::new).collect();
        Trace::of(self.shared.get_or_init(|| operations))
    }

    /// Any operation that was answered.
    pub(crate) fn add(
        &mut self,
        node: u64,
        request: Request,
        (called_ms, returned_ms): (u64, u64),
        revision: u64,
        answer: Answer,
    ) -> &mut Operation {
        let promise = match request {
            Request::Submit(_)
            | Request::ReuseRequestId(_)
            | Request::Cancel(_)
            | Request::Pause(_)
            | Request::Resume(_)
            | Request::Update { .. } => Promise::Write,
            Request::Allocate(_) | Request::WatchEnd(..) | Request::Status => Promise::Local,
            Request::GetJob(_)
            | Request::GetJobs(_)
            | Request::ListJobs(_)
            | Request::GetSegment(_)
            | Request::ListSegments(_)
            | Request::ListTasks(_)
            | Request::GetTask(_)
            | Request::Watch(..)
            | Request::Wait(_)
            | Request::Check => Promise::Linearizable,
        };
        let operation = Operation {
            number: self.operations.len() as u64,
            client: format!("client {node}").into(),
            node,
            request,
            promise,
            called_us: called_ms * 1_000,
            returned_us: returned_ms * 1_000,
            outcome: Outcome::Ok,
            revision: Some(revision),
            staleness_ms: None,
            revision_min: None,
            answer,
        };
        self.operations.push(operation);
        self.operations.last_mut().expect("one was pushed")
    }

    /// A linearizable read of the job in this state.
    pub(crate) fn saw(&mut self, times: (u64, u64), revision: u64, fact: JobFact) -> &mut Operation {
        self.add(1, Request::GetJob(fact.job_id), times, revision, Answer::Job(fact))
    }

    pub(crate) fn get_job(&mut self, node: u64, called: u64, returned: u64, revision: u64) -> &mut Operation {
        let answer = Answer::Job(job(JobState::Executing));
        self.add(node, Request::GetJob(JOB), (called, returned), revision, answer)
    }

    pub(crate) fn stale_job(&mut self, node: u64, called: u64, returned: u64, revision: u64, age_ms: u64) {
        let operation = self.get_job(node, called, returned, revision);
        operation.promise = Promise::Stale;
        operation.staleness_ms = Some(age_ms);
    }

    pub(crate) fn pause(&mut self, node: u64, called: u64, returned: u64, revision: u64) -> &mut Operation {
        let answer = Answer::Job(JobFact { paused: true, ..job(JobState::Executing) });
        self.add(node, Request::Pause(JOB), (called, returned), revision, answer)
    }

    pub(crate) fn watched(&mut self, node: u64, called: u64, returned: u64, revision: u64, shown: u32) {
        let answer = Answer::Job(job(JobState::Executing));
        self.add(node, Request::Watch(JOB, shown), (called, returned), revision, answer);
    }

    pub(crate) fn submitted(&mut self, times: (u64, u64), revision: u64) -> &mut Operation {
        let answer = Answer::Submitted { job: job(JobState::Pending), already_existed: false };
        self.add(1, Request::Submit(submission("request")), times, revision, answer)
    }

    /// The last operation was refused.
    pub(crate) fn refused(&mut self, code: Code) {
        let operation = self.operations.last_mut().expect("there is one");
        operation.outcome = Outcome::Refused(code, String::new());
        operation.answer = Answer::None;
    }

    /// Nobody knows what became of the last operation.
    pub(crate) fn unknown(&mut self) {
        let operation = self.operations.last_mut().expect("there is one");
        operation.outcome = Outcome::Unknown(Code::Unavailable, String::new());
        operation.answer = Answer::None;
        operation.revision = None;
    }
}

/// Exactly one violation, which says this.
pub(crate) fn only(violations: &[Violation], says: &str) {
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].sentence.contains(says), "{}", violations[0]);
}
