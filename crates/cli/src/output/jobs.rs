//! Jobs as tables.

use super::table::{Fields, fields, grid};
use crate::units::{show_bytes, show_duration, show_time};
use comfy_table::Table;
use ferry_proto::v1::{CleanupState, IdMapping, Job, JobEvent, JobOptions, JobState, JobTransition, Plan};
use std::time::Duration;

/// The most mappings a table of a plan lists.
const PLANNED_MAX: usize = 20;

/// A job's state as people write it.
pub(crate) fn job_state(job: &Job) -> &'static str {
    match job.state() {
        JobState::Unspecified => "-",
        JobState::Pending => "Pending",
        JobState::Executing if job.paused => "Executing (paused)",
        JobState::Executing => "Executing",
        JobState::Completed => "Completed",
        JobState::Failed => "Failed",
        JobState::Canceled => "Canceled",
    }
}

/// Jobs below each other.
pub(crate) fn jobs(jobs: &[Job]) -> Table {
    let header = ["JOB", "NAME", "STATE", "PROGRESS", "SEGMENTS", "BYTES", "COLLECTION", "SUBMITTED", "DURATION"];
    let row = |job: &Job| {
        vec![
            job.job_id.to_string(),
            or_dash(&job.name),
            job_state(job).to_owned(),
            format!("{} %", job.progress_percent),
            format!("{}/{}", job.copied_segments, job.total_segments),
            show_bytes(job.copied_bytes),
            job.collection_id.to_string(),
            show_time(job.submitted_at_ms),
            show_duration(Duration::from_millis(job.duration_ms)),
        ]
    };
    grid(&header, jobs.iter().map(row).collect())
}

/// One job with all there is to say.
pub(crate) fn job(job: &Job) -> Table {
    fields(job_fields(job))
}

fn job_fields(job: &Job) -> Fields {
    let mut fields = vec![
        ("job", job.job_id.to_string()),
        ("name", or_dash(&job.name)),
        ("state", job_state(job).to_owned()),
        ("reason", or_dash(&job.reason)),
        ("progress", format!("{} %", job.progress_percent)),
        ("segments", format!("{} of {} copied", job.copied_segments, job.total_segments)),
        ("rows", job.total_rows.to_string()),
        ("bytes", format!("{} of {} copied", show_bytes(job.copied_bytes), show_bytes(job.total_bytes))),
        ("tasks", tasks(job)),
        ("priority", job.priority.to_string()),
        ("collection", job.collection_id.to_string()),
        ("source", job.source_uri.clone()),
        ("target", job.target_uri.clone()),
        ("submitted", show_time(job.submitted_at_ms)),
        ("started", show_time(job.started_at_ms)),
        ("ended", show_time(job.completed_at_ms)),
        ("duration", show_duration(Duration::from_millis(job.duration_ms))),
        ("timeout", timeout(job)),
        ("clean-up", cleanup(job.cleanup()).to_owned()),
        ("request id", or_dash(&job.request_id)),
    ];
    let limits = job.options.as_ref().map(limits).unwrap_or_default();
    if !limits.is_empty() {
        fields.push(("limits", limits));
    }
    if !job.snapshot_uri.is_empty() {
        fields.push(("snapshot", job.snapshot_uri.clone()));
    }
    if !job.labels.is_empty() {
        fields.push(("labels", labels(&job.labels)));
    }
    fields
}

fn tasks(job: &Job) -> String {
    let tasks = job.tasks.unwrap_or_default();
    format!(
        "{} pending, {} in progress, {} completed, {} failed",
        tasks.pending, tasks.in_progress, tasks.completed, tasks.failed
    )
}

/// What the job keeps to over all workers; empty where it has no limit.
fn limits(options: &JobOptions) -> String {
    let (bytes, requests) = (options.bandwidth_bytes_per_second, options.requests_per_second);
    let limits = [
        (bytes > 0).then(|| format!("{}/s", show_bytes(bytes))),
        (requests > 0).then(|| format!("{requests} requests/s")),
        (options.attempts_at_once_max > 0).then(|| format!("{} attempts at once", options.attempts_at_once_max)),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn timeout(job: &Job) -> String {
    match &job.options {
        Some(options) if !options.no_timeout => show_duration(Duration::from_millis(options.timeout_ms)),
        _ => "none".to_owned(),
    }
}

fn cleanup(state: CleanupState) -> &'static str {
    match state {
        CleanupState::Unspecified | CleanupState::NotNeeded => "not needed",
        CleanupState::Pending => "pending",
        CleanupState::Running => "running",
        CleanupState::Done => "done",
        CleanupState::LeftOver => "given up: files may be left over",
        CleanupState::Kept => "kept: `ferry job clean-up` deletes what it copied",
    }
}

/// An event on a line of its own: a watch cannot know how wide the columns of what is to come must be.
pub(crate) fn event(event: &JobEvent) -> String {
    let id = format!("{}.{}", event.revision, event.ordinal);
    let transition = match event.transition() {
        JobTransition::Unspecified => "-",
        JobTransition::Submitted => "Submitted",
        JobTransition::Executing => "Executing",
        JobTransition::Completed => "Completed",
        JobTransition::Failed => "Failed",
        JobTransition::Canceled => "Canceled",
        JobTransition::Paused => "Paused",
        JobTransition::Resumed => "Resumed",
        JobTransition::CleanedUp => "CleanedUp",
        JobTransition::LeftOver => "LeftOver",
        JobTransition::Collected => "Collected",
    };
    let (time, job, collection) = (show_time(event.happened_at_ms), event.job_id, event.collection_id);
    let text = if event.reason.is_empty() { or_dash(&event.name) } else { format!("{}: {}", event.name, event.reason) };
    format!("{id:<12} {time:<20} job {job} {transition:<9} collection {collection} {text}\n")
}

/// What a dry run found.
pub(crate) fn plan(plan: &Plan) -> Table {
    let ids = |mapping: &IdMapping| {
        vec![
            mapping.source_segment_id.to_string(),
            chosen(mapping.target_segment_id, "allocated"),
            chosen(mapping.partition_id, "as the source's"),
        ]
    };
    let mut rows: Vec<Vec<String>> = plan.id_mappings.iter().take(PLANNED_MAX).map(ids).collect();
    if plan.id_mappings.len() > PLANNED_MAX {
        rows.push(vec![format!("{} more", plan.id_mappings.len() - PLANNED_MAX), String::new(), String::new()]);
    }
    grid(&["SOURCE", "TARGET", "PARTITION"], rows)
}

fn chosen(id: i64, otherwise: &str) -> String {
    if id == 0 { otherwise.to_owned() } else { id.to_string() }
}

/// Labels in a fixed order.
pub(crate) fn labels(labels: &std::collections::HashMap<String, String>) -> String {
    let mut pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    pairs.join(" ")
}

pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{job, jobs, plan};
    use comfy_table::Table;
    use expect_test::expect;
    use ferry_proto::v1::{IdMapping, Job, JobOptions, JobState, Plan, TaskCounts};

    fn text(mut table: Table) -> String {
        table.force_no_tty();
        table.trim_fmt() + "\n"
    }

    fn restored() -> Job {
        Job {
            job_id: 1 << 40,
            name: "nightly".to_owned(),
            state: JobState::Completed.into(),
            collection_id: 200,
            total_segments: 3,
            copied_segments: 3,
            total_rows: 3300,
            total_bytes: 3 << 19,
            copied_bytes: 3 << 19,
            tasks: Some(TaskCounts { completed: 1, ..TaskCounts::default() }),
            priority: 50,
            submitted_at_ms: 1_700_000_000_000,
            started_at_ms: 1_700_000_000_000,
            completed_at_ms: 1_700_000_001_000,
            duration_ms: 873,
            source_uri: "file:///source".to_owned(),
            target_uri: "file:///target".to_owned(),
            progress_percent: 100,
            labels: [("team", "search"), ("by", "cron")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            options: Some(JobOptions { timeout_ms: 86_400_000, ..JobOptions::default() }),
            ..Job::default()
        }
    }

    #[test]
    fn a_job_tells_the_limits_that_it_keeps_to() {
        let of = |options: JobOptions| super::limits(&options);
        assert_eq!(of(JobOptions::default()), "");
        assert_eq!(of(JobOptions { attempts_at_once_max: 4, ..JobOptions::default() }), "4 attempts at once");
        let all = JobOptions {
            bandwidth_bytes_per_second: 10 << 20,
            requests_per_second: 50,
            attempts_at_once_max: 4,
            ..JobOptions::default()
        };
        assert_eq!(of(all), "10.0 MiB/s, 50 requests/s, 4 attempts at once");
    }

    #[test]
    fn a_job_is_shown_with_bytes_rows_and_times() {
        expect![[r#"
             job         1099511627776
             name        nightly
             state       Completed
             reason      -
             progress    100 %
             segments    3 of 3 copied
             rows        3300
             bytes       1.5 MiB of 1.5 MiB copied
             tasks       0 pending, 0 in progress, 1 completed, 0 failed
             priority    50
             collection  200
             source      file:///source
             target      file:///target
             submitted   2023-11-14T22:13:20Z
             started     2023-11-14T22:13:20Z
             ended       2023-11-14T22:13:21Z
             duration    873 ms
             timeout     1day
             clean-up    not needed
             request id  -
             labels      by=cron team=search
        "#]]
        .assert_eq(&text(job(&restored())));
    }

    #[test]
    fn jobs_are_shown_one_a_line() {
        expect![[r#"
             JOB            NAME     STATE      PROGRESS  SEGMENTS  BYTES    COLLECTION  SUBMITTED             DURATION
             1099511627776  nightly  Completed  100 %     3/3       1.5 MiB         200  2023-11-14T22:13:20Z  873 ms
                         7  -        -          0 %       0/0       0 B               0  -                     0 ms
        "#]]
        .assert_eq(&text(jobs(&[restored(), Job { job_id: 7, ..Job::default() }])));
    }

    #[test]
    fn a_long_plan_is_cut_short() {
        let mapping = |source_segment_id| IdMapping { source_segment_id, ..IdMapping::default() };
        let shown = text(plan(&Plan { id_mappings: (1..=25).map(mapping).collect(), ..Plan::default() }));
        assert_eq!(shown.lines().count(), 22);
        assert!(shown.ends_with("5 more\n"), "{shown}");
    }
}
