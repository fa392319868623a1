//! Progress on stderr: a bar on a terminal, plain lines elsewhere.
//!
//! Invariant: what is shown is what the cluster said; only rate and time left are computed here.

use crate::output::{job_state, note};
use crate::units::show_bytes;
use ferry_client::is_final;
use ferry_proto::v1::Job;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far a job gets between two plain lines.
const PERCENT_PER_LINE: u32 = 10;
/// How long a plain line is waited for at most, while the job moves at all.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows a job's progress.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    /// Bytes that were copied when the watching began.
    first_bytes: Option<u64>,
    shown: Option<(u32, &'static str, Instant)>,
    /// What stands before each plain line.
    indent: &'static str,
}

impl Progress {
    /// A bar where stderr is a terminal.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(bar);
        Self { bar, begun: Instant::now(), first_bytes: None, shown: None, indent: "" }
    }

    /// The same, with plain lines that stand below others.
    pub(crate) fn indented(indent: &'static str) -> Self {
        Self { indent, ..Self::new() }
    }

    /// Shows the job as it is now.
    pub(crate) fn show(&mut self, job: &Job) {
        let first_bytes = *self.first_bytes.get_or_insert(job.copied_bytes);
        let text = describe(job, first_bytes, self.begun.elapsed());
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(job.progress_percent));
            bar.set_message(text);
        } else if self.is_due(job) {
            note(&format!("{}{text}", self.indent));
            self.shown = Some((job.progress_percent, job_state(job), Instant::now()));
        }
    }

    /// Takes the bar away; what follows is for stdout.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn is_due(&self, job: &Job) -> bool {
        let Some((percent, state, at)) = self.shown else { return true };
        is_final(job)
            || state != job_state(job)
            || job.progress_percent >= percent + PERCENT_PER_LINE
            || at.elapsed() >= LINE_INTERVAL
    }
}

/// Shows how many files and bytes of a local work are done.
pub(crate) struct FileProgress {
    verb: &'static str,
    bar: Option<ProgressBar>,
    line_at: Mutex<Instant>,
}

impl FileProgress {
    /// A bar where stderr is a terminal; `verb` says what is being done.
    pub(crate) fn new(verb: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(bytes_bar);
        Self { verb, bar, line_at: Mutex::new(Instant::now()) }
    }

    /// Shows how far it is.
    pub(crate) fn show(&self, now: ferry_snapshot::Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(now.bytes_total);
            bar.set_position(now.bytes_done);
            bar.set_message(format!("{} {}/{} files", self.verb, now.files_done, now.files_total));
            return;
        }
        let mut line_at = self.line_at.lock().unwrap_or_else(PoisonError::into_inner);
        if line_at.elapsed() >= LINE_INTERVAL {
            let bytes = format!("{} of {}", show_bytes(now.bytes_done), show_bytes(now.bytes_total));
            note(&format!("{} {}/{} files, {bytes}", self.verb, now.files_done, now.files_total));
            *line_at = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how many mappings of a submit have been sent.
pub(crate) struct MappingProgress {
    total: u64,
    bar: Option<ProgressBar>,
    /// The most that any try sent, and when a line said so last.
    told: Mutex<(u64, Instant)>,
}

impl MappingProgress {
    /// A bar where stderr is a terminal.
    pub(crate) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| count_bar(total));
        Self { total, bar, told: Mutex::new((0, Instant::now())) }
    }

    /// Shows how many are sent; a stream that is sent again shows nothing until it gets further.
    pub(crate) fn show(&self, sent: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.0 = told.0.max(sent);
        if let Some(bar) = &self.bar {
            bar.set_position(told.0);
        } else if told.1.elapsed() >= LINE_INTERVAL {
            note(&format!("sent {} of {} mappings", told.0, self.total));
            told.1 = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn count_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{bar:30} {pos}/{len} mappings {per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn bytes_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}  {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn describe(job: &Job, first_bytes: u64, elapsed: Duration) -> String {
    let segments = format!("{}/{} segments", job.copied_segments, job.total_segments);
    let mut parts = vec![
        format!("job {} {}", job.job_id, job_state(job)),
        format!("{} %", job.progress_percent),
        segments,
        show_bytes(job.copied_bytes),
    ];
    if !is_final(job) {
        parts.extend(rate(job.copied_bytes.saturating_sub(first_bytes), elapsed));
        parts.extend(time_left(job));
    }
    parts.join(", ")
}

fn rate(bytes: u64, elapsed: Duration) -> Option<String> {
    let milliseconds = u64::try_from(elapsed.as_millis()).ok().filter(|elapsed| *elapsed >= 100)?;
    (bytes > 0).then(|| format!("{}/s", show_bytes(bytes.saturating_mul(1000) / milliseconds)))
}

/// As long again for each percent that is missing as it took for those that are there.
fn time_left(job: &Job) -> Option<String> {
    let done = u64::from(job.progress_percent.min(100));
    let left_ms = job.duration_ms.checked_mul(100 - done)?.checked_div(done)?;
    Some(format!("{} left", humantime::format_duration(Duration::from_secs(left_ms.div_ceil(1000).max(1)))))
}

#[cfg(test)]
mod tests {
    use super::describe;
    use expect_test::expect;
    use ferry_proto::v1::{Job, JobState};
    use std::time::Duration;

    fn job(state: JobState, progress_percent: u32) -> Job {
        Job {
            job_id: 7,
            state: state.into(),
            progress_percent,
            copied_segments: i64::from(progress_percent) * 3,
            total_segments: 300,
            copied_bytes: u64::from(progress_percent) << 20,
            duration_ms: 20_000,
            ..Job::default()
        }
    }

    #[test]
    fn progress_has_bytes_rate_and_time_left() {
        let text = describe(&job(JobState::Executing, 40), 10 << 20, Duration::from_secs(10));
        expect!["job 7 Executing, 40 %, 120/300 segments, 40.0 MiB, 3.0 MiB/s, 30s left"].assert_eq(&text);
    }

    #[test]
    fn nothing_is_promised_before_anything_is_known() {
        let text = describe(&job(JobState::Pending, 0), 0, Duration::ZERO);
        expect!["job 7 Pending, 0 %, 0/300 segments, 0 B"].assert_eq(&text);
    }

    #[test]
    fn an_ended_job_has_no_time_left() {
        let text = describe(&job(JobState::Completed, 100), 0, Duration::from_secs(10));
        expect!["job 7 Completed, 100 %, 300/300 segments, 100.0 MiB"].assert_eq(&text);
    }
}
