//! How a command went, as an exit code that scripts can act upon.

use ferry_client::Code;
use ferry_proto::v1::{Job, JobState};
use std::io::Write;

/// Every way a command can end; the numbers are promised to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Failed otherwise.
    Failed = 1,
    /// Wrong usage or an invalid argument.
    Usage = 2,
    NotFound = 3,
    /// A conflict or an unmet precondition.
    Conflict = 4,
    /// Unavailable or out of some resource: try again.
    TryAgain = 5,
    NotAllowed = 6,
    /// The awaited job ended Failed or Canceled.
    JobFailed = 7,
    /// Waited too long.
    TimedOut = 8,
}

/// Failures of a command that have an exit code of their own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments are wrong in a way that only the command can see.
    #[error("{0}")]
    Usage(String),
    /// A stream ended before its end.
    #[error("the backup broke off ({0}): nothing was written; repeat the command")]
    BrokenOff(String),
    /// The awaited job ended, but not Completed.
    #[error("job {job_id} ended {state}: {reason}")]
    JobEnded {
        /// Which.
        job_id: i64,
        /// As people write it.
        state: &'static str,
        /// Why.
        reason: String,
    },
    /// The job goes on, the command does not.
    #[error(
        "job {job_id} has not ended within the time to wait; it goes on: wait longer with `ferry job wait {job_id}`"
    )]
    WaitedTooLong {
        /// Which.
        job_id: i64,
    },
}

/// An error unless the job that has ended is Completed.
pub(crate) fn must_be_completed(job: &Job) -> Result<(), Failure> {
    let state = match job.state() {
        JobState::Completed => return Ok(()),
        JobState::Failed => "Failed",
        JobState::Canceled => "Canceled",
        JobState::Unspecified | JobState::Pending | JobState::Executing => "in no final state",
    };
    Err(Failure::JobEnded { job_id: job.job_id, state, reason: job.reason.clone() })
}

/// The exit code of an error.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::Usage(_) => Exit::Usage,
            Failure::BrokenOff(_) => Exit::TryAgain,
            Failure::JobEnded { .. } => Exit::JobFailed,
            Failure::WaitedTooLong { .. } => Exit::TimedOut,
        };
    }
    error.downcast_ref::<ferry_client::Error>().map_or(Exit::Failed, |error| exit_of_code(error.code()))
}

fn exit_of_code(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::Unavailable | Code::ResourceExhausted => Exit::TryAgain,
        Code::Unauthenticated | Code::PermissionDenied => Exit::NotAllowed,
        Code::DeadlineExceeded => Exit::TimedOut,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            Exit::Failed
        }
    }
}

/// Ends the process in success, without waiting for work that nobody asks for any more, such as a check of all rows.
pub(crate) fn done() -> ! {
    let written = std::io::stdout().flush();
    if let Err(error) = written {
        fail(&anyhow::Error::new(error).context("stdout cannot be written"));
    }
    signal_hook::low_level::exit(0)
}

/// Writes the error to stderr and ends the process with its exit code, at once and whatever else it is at: a thread in a
/// disk that hangs cannot be waited for, and RocksDB's threads must not run on beside what tears it down at an exit.
pub(crate) fn fail(error: &anyhow::Error) -> ! {
    // Nobody is left to be told when one of them is gone.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().write_all(text(error).as_bytes());
    signal_hook::low_level::exit(exit_of(error) as i32)
}

/// The error and its causes, but those that are told already.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn text(error: &anyhow::Error) -> String {
    let message = message(error);
    let mut text = format!("error: {message}\n");
    let violations = error.downcast_ref::<ferry_client::Error>().map(|error| error.violations()).unwrap_or_default();
    for violation in violations {
        if !message.contains(&violation.description) {
            text += &format!("  {}: {}\n", violation.field, violation.description);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failure, exit_of, must_be_completed, text};
    use expect_test::expect;
    use ferry_client::{Code, Error, FieldViolation, Refusal};
    use ferry_proto::v1::{Job, JobState};

    fn refused(code: Code) -> anyhow::Error {
        let refusal = Refusal {
            code,
            message: "the request has 2 faults".to_owned(),
            violations: vec![
                FieldViolation { field: "options.priority".to_owned(), description: "must be 0 to 100".to_owned() },
                FieldViolation { field: "name".to_owned(), description: "must be at most 256 bytes".to_owned() },
            ],
            leader_id: None,
            endpoint: "n1:7401".to_owned(),
        };
        anyhow::Error::new(Error::Refused(Box::new(refusal)))
    }

    #[test]
    fn every_status_has_the_promised_exit_code() {
        let promised = [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 4),
            (Code::FailedPrecondition, 4),
            (Code::Unavailable, 5),
            (Code::ResourceExhausted, 5),
            (Code::Unauthenticated, 6),
            (Code::PermissionDenied, 6),
            (Code::DeadlineExceeded, 8),
            (Code::Internal, 1),
        ];
        for (code, exit) in promised {
            assert_eq!(exit_of(&refused(code)) as u8, exit, "{code:?}");
        }
    }

    #[test]
    fn context_does_not_hide_the_exit_code() {
        assert_eq!(exit_of(&refused(Code::NotFound).context("while watching")), Exit::NotFound);
        assert_eq!(exit_of(&anyhow::anyhow!("otherwise")), Exit::Failed);
        assert_eq!(exit_of(&Failure::Usage("wrong".to_owned()).into()), Exit::Usage);
        assert_eq!(exit_of(&Failure::WaitedTooLong { job_id: 1 }.into()), Exit::TimedOut);
    }

    #[test]
    fn an_awaited_job_that_failed_or_was_canceled_is_a_failure() {
        let job =
            |state: JobState| Job { job_id: 7, state: state.into(), reason: "timeout".to_owned(), ..Job::default() };
        assert!(must_be_completed(&job(JobState::Completed)).is_ok());
        for state in [JobState::Failed, JobState::Canceled] {
            let failure = must_be_completed(&job(state)).expect_err("not Completed");
            assert_eq!(exit_of(&failure.into()), Exit::JobFailed);
        }
        let failure = must_be_completed(&job(JobState::Failed)).expect_err("not Completed");
        assert_eq!(failure.to_string(), "job 7 ended Failed: timeout");
    }

    #[test]
    fn a_cause_that_the_message_holds_already_is_not_told_twice() {
        let cause = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(cause).context("cannot write vote: the disk is full; free space");
        assert_eq!(
            text(&error.context("the node has ended")),
            "error: the node has ended: cannot write vote: the disk is full; free space\n"
        );
    }

    #[test]
    fn fields_that_the_message_does_not_name_are_named_below_it() {
        expect![[r"
            error: the request has 2 faults
              options.priority: must be 0 to 100
              name: must be at most 256 bytes
        "]]
        .assert_eq(&text(&refused(Code::InvalidArgument)));
    }
}
