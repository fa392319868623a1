//! Why a job does not move, or what moves it: a typed reason with words for its user.

use crate::time::Time;
use std::fmt;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingOn {
    /// The leader creates its tasks.
    CreatingTasks {
        /// Created so far.
        created: u64,
        /// All of them.
        planned: u64,
    },
    /// Its user, or a task that used up its attempts, paused it.
    Paused,
    /// No worker that may take tasks is connected.
    NoWorker,
    /// Every connected worker is busy.
    NoFreeSlot,
    /// What is left was refused by a worker, and the others are busy.
    AnotherWorker,
    /// Every task that is left failed a moment ago.
    Backoff {
        /// The first one is tried again then.
        until: Time,
    },
    /// Jobs that had a smaller share so far go first.
    Turn,
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
    /// It has ended, and its files are being deleted.
    CleanUp {
        /// Tasks whose files are left.
        remaining: u64,
        /// Attempts of lost workers may write until then, if that is still to come.
        quiet_at: Time,
    },
    /// It has ended and stays readable.
    Retention {
        /// Until then; `None` where it is being collected.
        until: Option<Time>,
    },
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatingTasks { created, planned } => {
                write!(formatter, "its tasks are being created: {created} of {planned}")
            }
            Self::Paused => formatter.write_str("it is paused: resume it"),
            Self::NoWorker => formatter.write_str("no worker is connected that takes tasks: start one, or end a drain"),
            Self::NoFreeSlot => formatter.write_str("every worker is busy: wait, raise its priority, or add workers"),
            Self::AnotherWorker => {
                formatter.write_str("a worker was refused access, and the others are busy: check its credentials")
            }
            Self::Backoff { until } => {
                write!(formatter, "its tasks failed and are tried again at {} ms of cluster time", until.0)
            }
            Self::Turn => formatter.write_str("other jobs are before it: wait, or raise its priority"),
            Self::Attempts { running } => write!(formatter, "nothing: {} under way", counted(*running, "attempt")),
            Self::Stopping { running } => {
                write!(formatter, "it has ended; {} still to stop", counted(*running, "attempt"))
            }
            Self::Settling => formatter.write_str("it has ended; that is being written down"),
            Self::CleanUp { remaining, quiet_at } => write!(
                formatter,
                "it has ended; files of {} are to be deleted, from {} ms of cluster time on",
                counted(*remaining, "task"),
                quiet_at.0
            ),
            Self::Retention { until: Some(until) } => {
                write!(formatter, "it has ended and stays readable until {} ms of cluster time", until.0)
            }
            Self::Retention { until: None } => formatter.write_str("it has ended and is being collected"),
        }
    }
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
