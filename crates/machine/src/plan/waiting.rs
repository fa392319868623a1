//! Why a job does not move, or what moves it: a typed reason with words for its user.

use crate::id::{JobId, TaskId};
use crate::time::Time;

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingOn {
    /// The leader creates its tasks.
    CreatingTasks {
        /// Created so far.
        created: u64,
        /// All of them.
        planned: u64,
    },
    /// It is paused; what runs goes on.
    Paused {
        /// What paused it.
        by: PausedBy,
    },
    /// No worker that may take tasks is connected.
    NoWorker {
        /// Connected ones that drain.
        draining: u64,
    },
    /// Every connected worker is busy.
    NoFreeSlot {
        /// The job that gets the next free slot; `None`: this one.
        behind: Option<JobId>,
    },
    /// As many attempts of it run as may at once, by its own limit.
    AttemptsAtOnce {
        /// That many; more than its limit where that was lowered.
        running: u64,
        /// Its limit.
        limit: u32,
    },
    /// What is left was refused by a worker, and the others are busy.
    AnotherWorker {
        /// A task that was refused.
        task: TaskId,
    },
    /// Every task that is left failed a moment ago.
    Backoff {
        /// The first one is tried again then.
        until: Time,
        /// Which one.
        task: TaskId,
    },
    /// There are free slots, and the leader is about to fill them.
    Turn {
        /// The job that has had a smaller share so far; `None`: this job is next.
        behind: Option<JobId>,
    },
    /// Nothing: all that is left runs.
    Attempts {
        /// That many.
        running: u64,
    },
    /// It has ended, and attempts of it have not stopped yet.
    Stopping {
        /// That many.
        running: u64,
    },
    /// It has ended, and the leader writes that down.
    Settling,
    /// It has ended, and its files are to be deleted.
    CleanUp {
        /// Tasks whose files are left.
        remaining: u64,
        /// What that waits for.
        on: Box<WaitingOn>,
    },
    /// It has ended, and attempts of lost workers may still write.
    Writers {
        /// Until then.
        until: Time,
    },
    /// Its files are deleted, and a remote store may still carry out what attempts sent it and gave up: it is looked again
    /// after that.
    LateWrites {
        /// Then.
        until: Time,
        /// Of this task.
        task: TaskId,
        /// That many attempts of the task.
        attempts: u32,
    },
    /// It failed, and what it copied is kept with its targets.
    Kept {
        /// Until then, or until its user says otherwise.
        until: Time,
    },
    /// It has ended and stays readable.
    Retention {
        /// Until then; `None` where it is being collected.
        until: Option<Time>,
    },
}

/// What paused a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausedBy {
    /// Its user, at its submit or later.
    User,
    /// A task that used up its attempts; a resume gives it new ones.
    ExhaustedAttempts(TaskId),
    /// A task that failed, and that no retry could help; a resume gives it new attempts.
    Failure(TaskId),
}

/// What a job waits for, at a moment, with what its user needs to judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What it waits for.
    pub waiting: WaitingOn,
    /// When that is true.
    pub now: Time,
    /// Attempts of it that run, whatever it waits for.
    pub running: u64,
    /// No other job gets a target of it.
    pub holds_targets: bool,
    /// Why the last attempt of the task that it waits for failed; empty where it waits for none.
    pub error: String,
    /// While attempts run: a task whose last attempt failed, and why. The next one may be among those that run.
    pub failed: Option<(TaskId, String)>,
    /// Its limit of bytes a second over the cluster; zero: none.
    pub bandwidth_bytes_per_second: u64,
    /// Its limit of requests a second over the cluster; zero: none.
    pub requests_per_second: u32,
}

impl WaitingOn {
    /// What a clean-up waits for where the job waits for that, else what the job itself waits for.
    #[must_use]
    pub fn innermost(&self) -> &Self {
        if let Self::CleanUp { on, .. } = self { on.innermost() } else { self }
    }

    /// The moment that it waits for, if it does.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        match self.innermost() {
            Self::Backoff { until, .. }
            | Self::Writers { until }
            | Self::LateWrites { until, .. }
            | Self::Kept { until }
            | Self::Retention { until: Some(until) } => Some(*until),
            Self::CreatingTasks { .. }
            | Self::Paused { .. }
            | Self::NoWorker { .. }
            | Self::NoFreeSlot { .. }
            | Self::AttemptsAtOnce { .. }
            | Self::AnotherWorker { .. }
            | Self::Turn { .. }
            | Self::Attempts { .. }
            | Self::Stopping { .. }
            | Self::Settling
            | Self::CleanUp { .. }
            | Self::Retention { until: None } => None,
        }
    }

    /// The task that it waits for, if it does.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self.innermost() {
            Self::Paused { by: PausedBy::ExhaustedAttempts(task) | PausedBy::Failure(task) } => Some(*task),
            Self::Backoff { task, .. } | Self::AnotherWorker { task } | Self::LateWrites { task, .. } => Some(*task),
            Self::CreatingTasks { .. }
            | Self::Paused { by: PausedBy::User }
            | Self::NoWorker { .. }
            | Self::NoFreeSlot { .. }
            | Self::AttemptsAtOnce { .. }
            | Self::Turn { .. }
            | Self::Attempts { .. }
            | Self::Stopping { .. }
            | Self::Settling
            | Self::CleanUp { .. }
            | Self::Writers { .. }
            | Self::Kept { .. }
            | Self::Retention { .. } => None,
        }
    }

    /// The job that goes before it, if one does.
    #[must_use]
    pub fn behind(&self) -> Option<JobId> {
        match self.innermost() {
            Self::NoFreeSlot { behind } | Self::Turn { behind } => *behind,
            Self::CreatingTasks { .. }
            | Self::Paused { .. }
            | Self::NoWorker { .. }
            | Self::AttemptsAtOnce { .. }
            | Self::AnotherWorker { .. }
            | Self::Backoff { .. }
            | Self::Attempts { .. }
            | Self::Stopping { .. }
            | Self::Settling
            | Self::CleanUp { .. }
            | Self::Writers { .. }
            | Self::LateWrites { .. }
            | Self::Kept { .. }
            | Self::Retention { .. } => None,
        }
    }
}

impl Explanation {
    /// The same in a sentence, with what the user can do.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.say(&self.waiting)
    }

    fn say(&self, waiting: &WaitingOn) -> String {
        let until = |until: Time| lasting(until.since(self.now));
        match waiting {
            WaitingOn::CreatingTasks { created, planned } => {
                format!("its tasks are being created: {created} of {planned}")
            }
            WaitingOn::Paused { by } => self.say_paused(*by),
            WaitingOn::NoWorker { draining: 0 } => "no worker is connected that takes tasks: start one".to_owned(),
            WaitingOn::NoWorker { draining } => {
                format!("{} drained, and no other is connected: undrain one, or start another", are(*draining))
            }
            WaitingOn::NoFreeSlot { behind: None } => {
                "every worker is busy, and it gets the next free slot: wait, or add workers".to_owned()
            }
            WaitingOn::NoFreeSlot { behind: Some(job) } => format!(
                "every worker is busy, and job {job} gets the next free slot: wait, raise its priority, or add workers"
            ),
            WaitingOn::AttemptsAtOnce { running, limit } => {
                format!("{running} of {limit} attempts at once run, which is its own limit: wait, or raise the limit")
            }
            WaitingOn::AnotherWorker { task } => format!(
                "a worker was refused access for task {task} ({}), and the others are busy: check its credentials",
                self.error
            ),
            WaitingOn::Backoff { until: at, task } => {
                format!("task {task} failed and is tried again in {}: {}", until(*at), self.error)
            }
            WaitingOn::Turn { behind: None } => "it is next: the leader is about to hand out its tasks".to_owned(),
            WaitingOn::Turn { behind: Some(job) } => format!("job {job} is before it: wait, or raise its priority"),
            WaitingOn::Attempts { running } => {
                let failed = self.failed.as_ref().map(|(task, error)| format!("; task {task} failed before: {error}"));
                let running = counted(*running, "attempt");
                format!("nothing: {running} under way{}{}", self.say_limits(), failed.unwrap_or_default())
            }
            WaitingOn::Stopping { running } => {
                format!("it has ended; {} still to stop", counted(*running, "attempt"))
            }
            WaitingOn::Settling => "it has ended; that is being written down".to_owned(),
            WaitingOn::CleanUp { remaining, on } => format!(
                "it has ended; files of {} are to be deleted, and its targets stay taken until then: {}",
                counted(*remaining, "task"),
                self.say(on)
            ),
            WaitingOn::Writers { until: at } => {
                format!("attempts of a lost worker may write for {} more", until(*at))
            }
            WaitingOn::LateWrites { until: at, task, attempts } => format!(
                "{} of task {task} ended with requests that the store did not answer and may still carry out: its objects \
                 are looked for again in {}",
                counted(u64::from(*attempts), "attempt"),
                until(*at)
            ),
            WaitingOn::Kept { until: at } => format!(
                "it failed, and what it copied is kept for {} with its targets taken: `ferry job clean-up` deletes it before",
                until(*at)
            ),
            WaitingOn::Retention { until: Some(at) } => {
                format!("it has ended and stays readable for {}", until(*at))
            }
            WaitingOn::Retention { until: None } => "it has ended and is being collected".to_owned(),
        }
    }

    /// The limits that the attempts under way share.
    fn say_limits(&self) -> String {
        let bytes = (self.bandwidth_bytes_per_second > 0).then(|| format!("{} bytes", self.bandwidth_bytes_per_second));
        let requests = (self.requests_per_second > 0).then(|| counted(u64::from(self.requests_per_second), "request"));
        let limits: Vec<String> = bytes.into_iter().chain(requests).collect();
        if limits.is_empty() {
            String::new()
        } else {
            format!(", at {} a second by its own limits", limits.join(" and "))
        }
    }

    fn say_paused(&self, by: PausedBy) -> String {
        let running = if self.running > 0 {
            format!("; {} under way and will count", counted(self.running, "attempt"))
        } else {
            String::new()
        };
        match by {
            PausedBy::User => format!("its user paused it: resume it{running}"),
            PausedBy::ExhaustedAttempts(task) => format!(
                "task {task} used up its attempts, which paused it: mend the cause, then resume it{running}; last error: {}",
                self.error
            ),
            PausedBy::Failure(task) => format!(
                "task {task} failed, which paused it, and no attempt can help as things are: mend the cause, then resume \
                 it{running}; error: {}",
                self.error
            ),
        }
    }
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn are(workers: u64) -> String {
    if workers == 1 { "1 worker is".to_owned() } else { format!("{workers} workers are") }
}

/// A duration as people say it; what it is exactly is a field of the answer.
fn lasting(duration_ms: u64) -> String {
    match duration_ms {
        0..1_000 => format!("{duration_ms} ms"),
        1_000..120_000 => format!("{}.{} s", duration_ms / 1_000, duration_ms % 1_000 / 100),
        120_000..7_200_000 => format!("{} min", duration_ms / 60_000),
        7_200_000.. => format!("{} h", duration_ms / 3_600_000),
    }
}
