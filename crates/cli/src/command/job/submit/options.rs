//! Options of `ferry job submit` that say how the job is to be done.

use crate::units;
use clap::{Args, ValueEnum};
use ferry_proto::v1;
use ferry_proto::v1::{ExhaustedPolicy, FailurePolicy, JobOptions, VerifyMode};
use ferry_snapshot::{IndexChoice, IndexKind};
use std::time::Duration;

/// How the job is to be done; what is not given is as the cluster has it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its share of the workers, 0 to 100.
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
    /// The job fails when it has not ended this long after its submit; none: it has all the time.
    #[arg(long, value_name = "DURATION|none", value_parser = job_timeout)]
    timeout: Option<JobTimeout>,
    /// How long the job can be read after its end.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    retention: Option<Duration>,
    /// How many segments a worker gets at once, 1 to 100.
    #[arg(long, value_name = "N")]
    segments_per_task: Option<u32>,
    /// How often a task may fail before it counts as exhausted.
    #[arg(long, value_name = "N")]
    attempts: Option<u32>,
    /// The most that all workers together copy for the job in a second, like 100MiB.
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    bandwidth: Option<u64>,
    /// The most requests that all workers together send to object stores for the job in a second.
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// The most attempts of the job's tasks that run at once.
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
    /// How copies are verified.
    #[arg(long, value_enum)]
    verify: Option<Verify>,
    /// What a permanent fault, like a missing source object, or a task that used up its attempts does to the job. A job
    /// that is paused can be resumed once the cause is mended.
    #[arg(long, value_enum)]
    on_failure: Option<OnFailure>,
    /// The same, by an older name.
    #[arg(long, value_enum)]
    on_exhausted: Option<OnExhausted>,
    /// Which index files are copied: all, none, or some of vector,scalar,text,json. Milvus builds again what is left out
    /// [default: all].
    #[arg(long, value_name = "all|none|KINDS")]
    indexes: Option<IndexChoice>,
    /// The copy's own snapshot is a self-contained bundle, as Milvus exports and takes back snapshots: its data lies in
    /// the target's folder `files`.
    #[arg(long)]
    self_contained: bool,
    /// Copy nothing: look at the source's objects or, with --target, compare a copy's with them. The job fails with the names
    /// of those that are missing or differ; --verify full reads all of them.
    #[arg(long)]
    verify_only: bool,
    /// The job starts paused.
    #[arg(long)]
    paused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobTimeout {
    None,
    After(Duration),
}

fn job_timeout(text: &str) -> Result<JobTimeout, String> {
    match text {
        "none" => Ok(JobTimeout::None),
        text => units::duration(text).map(JobTimeout::After).map_err(|error| format!("{error}, or none")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verify {
    /// Sizes always, checksums where the store or the snapshot has them.
    Standard,
    /// The same, and every copy is read back.
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnFailure {
    /// The job fails.
    Fail,
    /// The job is paused.
    Pause,
    /// The job fails, and keeps what it has copied, with its targets, until its retention is over or `ferry job clean-up`.
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnExhausted {
    /// The job fails.
    Fail,
    /// The job is paused.
    Pause,
}

impl Options {
    pub(super) fn wire(&self) -> JobOptions {
        let verify = match self.verify {
            None => VerifyMode::Unspecified,
            Some(Verify::Standard) => VerifyMode::Standard,
            Some(Verify::Full) => VerifyMode::Full,
        };
        let on_exhausted = match self.on_exhausted {
            None => ExhaustedPolicy::Unspecified,
            Some(OnExhausted::Fail) => ExhaustedPolicy::Fail,
            Some(OnExhausted::Pause) => ExhaustedPolicy::Pause,
        };
        let on_failure = match self.on_failure {
            None => FailurePolicy::Unspecified,
            Some(OnFailure::Fail) => FailurePolicy::Fail,
            Some(OnFailure::Pause) => FailurePolicy::Pause,
            Some(OnFailure::Keep) => FailurePolicy::Keep,
        };
        let timeout_ms = match self.timeout {
            Some(JobTimeout::After(duration)) => units::milliseconds(duration),
            Some(JobTimeout::None) | None => 0,
        };
        JobOptions {
            timeout_ms,
            no_timeout: self.timeout == Some(JobTimeout::None),
            retention_ms: self.retention.map(units::milliseconds).unwrap_or_default(),
            priority: self.priority,
            segments_per_task_max: self.segments_per_task.unwrap_or_default(),
            attempts_max: self.attempts.unwrap_or_default(),
            bandwidth_bytes_per_second: self.bandwidth.unwrap_or_default(),
            requests_per_second: self.requests_per_second.unwrap_or_default(),
            attempts_at_once_max: self.parallel.unwrap_or_default(),
            start_paused: self.paused,
            verify: verify.into(),
            on_exhausted: on_exhausted.into(),
            on_failure: on_failure.into(),
            indexes: self.indexes.as_ref().map(wire_indexes).unwrap_or_default(),
            self_contained: self.self_contained,
            verify_only: self.verify_only,
            ..JobOptions::default()
        }
    }
}

fn wire_indexes(choice: &IndexChoice) -> Vec<i32> {
    let kind = |kind: &IndexKind| match kind {
        IndexKind::Vector => v1::IndexKind::Vector,
        IndexKind::Scalar => v1::IndexKind::Scalar,
        IndexKind::Text => v1::IndexKind::Text,
        IndexKind::Json => v1::IndexKind::Json,
    };
    match choice {
        IndexChoice::All => vec![v1::IndexKind::All.into()],
        IndexChoice::Only(kinds) if kinds.is_empty() => vec![v1::IndexKind::None.into()],
        IndexChoice::Only(kinds) => kinds.iter().map(|one| kind(one).into()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{JobTimeout, Options, job_timeout};
    use clap::Parser;
    use ferry_proto::v1::{ExhaustedPolicy, FailurePolicy, IndexKind, JobOptions};
    use std::time::Duration;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> anyhow::Result<JobOptions> {
        Ok(Line::try_parse_from(["submit"].iter().chain(arguments))?.options.wire())
    }

    #[test]
    fn a_job_may_have_all_the_time() {
        assert_eq!(job_timeout("none"), Ok(JobTimeout::None));
        assert_eq!(job_timeout("2h"), Ok(JobTimeout::After(Duration::from_secs(7200))));
        let options = options(&["--timeout", "none"]).expect("options");
        assert!(options.no_timeout && options.timeout_ms == 0);
    }

    #[test]
    fn what_a_failure_does_to_the_job_has_two_names() {
        let paused = options(&["--on-failure", "pause"]).expect("options");
        assert_eq!((paused.on_failure(), paused.on_exhausted()), (FailurePolicy::Pause, ExhaustedPolicy::Unspecified));
        let kept = options(&["--on-failure", "keep"]).expect("options");
        assert_eq!(kept.on_failure(), FailurePolicy::Keep);
        assert!(options(&["--on-exhausted", "keep"]).is_err(), "the older name has no such value");
        let paused = options(&["--on-exhausted", "pause"]).expect("options");
        assert_eq!((paused.on_failure(), paused.on_exhausted()), (FailurePolicy::Unspecified, ExhaustedPolicy::Pause));
    }

    #[test]
    fn indexes_are_all_none_or_some() {
        let kinds = |text: &str| options(&["--indexes", text]).map(|options| options.indexes().collect::<Vec<_>>());
        assert_eq!(kinds("all").expect("a choice"), [IndexKind::All]);
        assert_eq!(kinds("none").expect("a choice"), [IndexKind::None]);
        assert_eq!(kinds("text,vector").expect("a choice"), [IndexKind::Vector, IndexKind::Text]);
        assert!(options(&[]).expect("options").indexes.is_empty());
        let error = kinds("vectors").expect_err("no kind").to_string();
        assert!(error.contains("write all, none, or some of vector,scalar,text,json"), "{error}");
    }
}
