//! What a client did and what it was answered: the one form in which the checkers read a run.
//!
//! Invariant: an operation says no more than its client saw; the two instants come from one monotonic clock.

use super::facts::{JobFact, SegmentFact, TaskFact};
use super::submission::Submission;
use ferry_proto::v1::JobState;
use std::fmt;
use std::sync::Arc;
use tonic::Code;

/// One call and what came of it.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Counts up within a run.
    pub number: u64,
    /// Who called.
    pub client: Arc<str>,
    /// The node that was called; the leader may have answered.
    pub node: u64,
    /// What was asked.
    pub request: Request,
    /// What the answer promises.
    pub promise: Promise,
    /// Microseconds since the run began.
    pub called_us: u64,
    /// Microseconds since the run began, when the client knew the outcome.
    pub returned_us: u64,
    /// What the client knows of it.
    pub outcome: Outcome,
    /// The log index at which the answer holds.
    pub revision: Option<u64>,
    /// The answer was true at some moment this long before it was given, or later.
    pub staleness_ms: Option<u64>,
    /// The revision that the client asked to wait for.
    pub revision_min: Option<u64>,
    /// What the answer says.
    pub answer: Answer,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A submit, or its repetition.
    Submit(Arc<Submission>),
    /// The request id of an earlier submit with another request, which must be refused.
    ReuseRequestId(Arc<Submission>),
    /// The end of a job.
    Cancel(i64),
    /// No new attempts of a job.
    Pause(i64),
    /// The end of a pause.
    Resume(i64),
    /// Live options of a job.
    Update {
        /// Which.
        job: i64,
        /// New priority.
        priority: Option<i32>,
        /// New bandwidth.
        bandwidth: Option<u64>,
    },
    /// So many ids.
    Allocate(u32),
    /// One job.
    GetJob(i64),
    /// Several jobs.
    GetJobs(Vec<i64>),
    /// The jobs with a label of this group.
    ListJobs(u32),
    /// One target.
    GetSegment(i64),
    /// The targets of a job.
    ListSegments(i64),
    /// The tasks of a job.
    ListTasks(i64),
    /// One task.
    GetTask(i64),
    /// A job as it changes; each state is an operation of its own, numbered from 0.
    Watch(i64, u32),
    /// The end of a watch after so many states.
    WatchEnd(i64, u32),
    /// The end of a job.
    Wait(i64),
    /// What one node knows of itself.
    Status,
    /// The invariants of one node's rows.
    Check,
}

/// Kinds of operation, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named like its request")]
pub enum Kind {
    Submit,
    ReuseRequestId,
    Cancel,
    Pause,
    Resume,
    Update,
    Allocate,
    GetJob,
    GetJobs,
    ListJobs,
    GetSegment,
    ListSegments,
    ListTasks,
    GetTask,
    Watch,
    WatchEnd,
    Wait,
    Status,
    Check,
}

impl Request {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Submit(_) => Kind::Submit,
            Self::ReuseRequestId(_) => Kind::ReuseRequestId,
            Self::Cancel(_) => Kind::Cancel,
            Self::Pause(_) => Kind::Pause,
            Self::Resume(_) => Kind::Resume,
            Self::Update { .. } => Kind::Update,
            Self::Allocate(_) => Kind::Allocate,
            Self::GetJob(_) => Kind::GetJob,
            Self::GetJobs(_) => Kind::GetJobs,
            Self::ListJobs(_) => Kind::ListJobs,
            Self::GetSegment(_) => Kind::GetSegment,
            Self::ListSegments(_) => Kind::ListSegments,
            Self::ListTasks(_) => Kind::ListTasks,
            Self::GetTask(_) => Kind::GetTask,
            Self::Watch(..) => Kind::Watch,
            Self::WatchEnd(..) => Kind::WatchEnd,
            Self::Wait(_) => Kind::Wait,
            Self::Status => Kind::Status,
            Self::Check => Kind::Check,
        }
    }

    /// The one job it is about, where it names one.
    #[must_use]
    pub fn job(&self) -> Option<i64> {
        match self {
            Self::Cancel(job)
            | Self::Pause(job)
            | Self::Resume(job)
            | Self::Update { job, .. }
            | Self::GetJob(job)
            | Self::ListSegments(job)
            | Self::ListTasks(job)
            | Self::Watch(job, _)
            | Self::WatchEnd(job, _)
            | Self::Wait(job) => Some(*job),
            Self::Submit(_)
            | Self::ReuseRequestId(_)
            | Self::Allocate(_)
            | Self::GetJobs(_)
            | Self::ListJobs(_)
            | Self::GetSegment(_)
            | Self::GetTask(_)
            | Self::Status
            | Self::Check => None,
        }
    }
}

/// What an answer promises about the moment at which it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A write: it took effect between call and return.
    Write,
    /// A read that reflects everything acknowledged before its call.
    Linearizable,
    /// A read that says how old it may be.
    Stale,
    /// What a node has at its revision, without a word about when.
    Local,
}

/// What a client knows of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was refused and changed nothing.
    Refused(Code, String),
    /// It may have been done, or may be done yet.
    Unknown(Code, String),
}

impl Outcome {
    /// What a status says: only refusals that come from the rows, or from the request itself, are definite.
    #[must_use]
    pub fn of(status: &tonic::Status) -> Self {
        let (code, message) = (status.code(), status.message().to_owned());
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => Self::Refused(code, message),
            Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Unknown(code, message),
        }
    }
}

/// What an answer says, as far as a checker wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// Nothing, or not looked at.
    #[default]
    None,
    /// A job.
    Job(JobFact),
    /// A job that a submit made or had made.
    Submitted {
        /// The job.
        job: JobFact,
        /// The request id was known.
        already_existed: bool,
    },
    /// Jobs; `complete`: there are no others that match.
    Jobs {
        /// Them.
        jobs: Vec<JobFact>,
        /// The list is at its end.
        complete: bool,
    },
    /// Targets.
    Segments {
        /// Them.
        segments: Vec<SegmentFact>,
        /// The list is at its end.
        complete: bool,
    },
    /// Tasks.
    Tasks {
        /// Them.
        tasks: Vec<TaskFact>,
        /// The list is at its end.
        complete: bool,
    },
    /// Ids.
    Ids {
        /// The first.
        first: i64,
        /// How many.
        count: u32,
    },
    /// What a node knows of itself.
    Status {
        /// Its term.
        term: u64,
        /// Who leads, zero: nobody known.
        leader: u64,
        /// Its last applied index.
        applied: u64,
    },
    /// A check of the invariants.
    Check {
        /// Sentences about what does not hold.
        violations: Vec<String>,
        /// Rows that were looked at.
        rows: u64,
        /// Digest over all rows; none where the node does not say.
        digest: Option<String>,
    },
}

impl Operation {
    /// It was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// It was refused because what it names does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(Code::NotFound, _))
    }

    /// It was refused because of the state of its job.
    #[must_use]
    pub fn is_wrong_state(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(Code::FailedPrecondition, _))
    }

    /// Nobody knows what became of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(..))
    }

    /// Every job that the answer tells of.
    pub fn jobs(&self) -> impl Iterator<Item = &JobFact> {
        let (one, many): (Option<&JobFact>, &[JobFact]) = match &self.answer {
            Answer::Job(job) | Answer::Submitted { job, .. } => (Some(job), &[]),
            Answer::Jobs { jobs, .. } => (None, jobs),
            Answer::None
            | Answer::Segments { .. }
            | Answer::Tasks { .. }
            | Answer::Ids { .. }
            | Answer::Status { .. }
            | Answer::Check { .. } => (None, &[]),
        };
        one.into_iter().chain(many)
    }

    /// Every target that the answer tells of.
    #[must_use]
    pub fn segments(&self) -> &[SegmentFact] {
        if let Answer::Segments { segments, .. } = &self.answer { segments } else { &[] }
    }

    /// Every task that the answer tells of.
    #[must_use]
    pub fn tasks(&self) -> &[TaskFact] {
        if let Answer::Tasks { tasks, .. } = &self.answer { tasks } else { &[] }
    }
}

/// Whether a job in this state may still complete.
#[must_use]
pub fn is_live(state: JobState) -> bool {
    match state {
        JobState::Pending | JobState::Executing => true,
        JobState::Unspecified | JobState::Completed | JobState::Failed | JobState::Canceled => false,
    }
}

impl fmt::Display for Operation {
    /// In one line, as a violation quotes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "[operation {}: {} asked node {} for {:?} ({:?}) from {:.3} s to {:.3} s",
            self.number,
            self.client,
            self.node,
            self.request,
            self.promise,
            seconds(self.called_us),
            seconds(self.returned_us),
        )?;
        if let Some(revision) = self.revision {
            write!(formatter, ", revision {revision}")?;
        }
        if let Some(staleness_ms) = self.staleness_ms {
            write!(formatter, ", at most {staleness_ms} ms old")?;
        }
        write!(formatter, ": {:?}", self.outcome)?;
        if self.answer != Answer::None {
            write!(formatter, " {:?}", self.answer)?;
        }
        write!(formatter, "]")
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}
