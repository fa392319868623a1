//! `ferry job submit`: a job from arguments and, if need be, a file of mappings, which is streamed where it is large.

mod options;

use self::options::Options;
use super::{wait, watch};
use crate::arguments::{self, Partition, Uri};
use crate::command::Context;
use crate::exit::{Exit, Failure, exit_of, must_be_completed};
use crate::mappings::{MESSAGE_MAPPINGS_MAX, Mappings};
use crate::output::note;
use crate::progress::MappingProgress;
use crate::units::show_bytes;
use crate::{mappings, output, units};
use clap::Args;
use ferry_client::{Client, MappingSource};
use ferry_proto::v1::{
    IdMapping, Job, JobOptions, Plan, Selection, SnapshotRef, SubmitJobRequest, SubmitJobResponse,
    SubmitJobStreamResponse, TargetRef, Warning,
};
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Submit a job: copy segments of a snapshot to new ids.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The snapshot: its metadata file, or a place with exactly one below it.
    #[arg(long, value_name = "URI", value_parser = arguments::uri)]
    source: Uri,
    /// The root under which the targets' files go. With --verify-only, the copy's own snapshot, as `ferry job get` names it.
    #[arg(long, value_name = "URI", value_parser = arguments::uri, required_unless_present = "verify_only")]
    target: Option<Uri>,
    /// The collection that the targets belong to.
    #[arg(long, value_name = "ID", allow_negative_numbers = true, required_unless_present = "verify_only")]
    collection: Option<i64>,
    /// Which segment becomes which, as CSV (source,target[,partition]) or JSON lines; - reads stdin. A file is
    /// streamed, however large; what comes over a pipe is held. Without it every segment of the snapshot gets a new id;
    /// with --verify-only it is that of the copy which a job of this cluster made, as far as the copy has the segment.
    #[arg(long, value_name = "FILE")]
    mappings: Option<PathBuf>,
    /// Copy only the segments of this partition, and the deletions that concern every partition; can be repeated. With
    /// SOURCE=TARGET, two ids, it does what --map-partition does.
    #[arg(long = "partition", value_name = "NAME|ID", value_parser = arguments::partition)]
    partitions: Vec<Partition>,
    /// Copy only these segments; name level-0 segments too, where their deletions are wanted.
    #[arg(long, value_name = "ID,...", value_delimiter = ',', conflicts_with = "mappings")]
    segments: Vec<i64>,
    /// The target of a source partition, which is given by its name or id in the snapshot; partitions that are not named
    /// keep their ids. Can be repeated.
    #[arg(long = "map-partition", value_name = "SOURCE=TARGET", value_parser = arguments::partition_target)]
    partition_targets: Vec<(String, i64)>,
    /// Submit in spite of this warning, like encryption-zone or external-table; can be repeated.
    #[arg(long = "accept", value_name = "WARNING")]
    accepted: Vec<String>,
    /// For people.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Names this submit, so that it can be repeated without a second job [default: a new one].
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// For people and filters.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    options: Options,
    /// Check and plan, but change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Wait until the job has ended; the exit code says how.
    #[arg(long, conflicts_with_all = ["watch", "dry_run"])]
    wait: bool,
    /// Show the job's progress until it has ended; the exit code says how.
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// How long to wait or watch at most, like 10m.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    wait_timeout: Option<Duration>,
    /// How long the submit itself is tried, like 10s [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    call_timeout: Option<Duration>,
}

impl Submit {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call_timeout)?;
        let mut response = match self.mappings.as_deref().map(load_mappings).transpose()? {
            None => client.submit_job(self.request(Vec::new())?).await?.message,
            Some(Mappings::Few(few)) => client.submit_job(self.request(few)?).await?.message,
            Some(Mappings::Many(count, source)) => self.stream(&client, count, source).await?,
        };
        if response.already_existed {
            note("the request id was known: this is the job of the first submit");
        }
        if let Some(plan) = &response.plan
            && self.dry_run
        {
            note_warnings(&plan.warnings, plan.total_warnings);
            note_plan(plan);
            return context
                .output
                .answer(&response, |response| response.plan.as_ref().map(output::plan).unwrap_or_default());
        }
        note_warnings(&response.warnings, response.total_warnings);
        if response.unchecked_segments > 0 {
            let count = response.unchecked_segments;
            note(&format!("{count} segments were not looked at for warnings; `ferry snapshot inspect` does"));
        }
        let ended = self.ended(&client, response.job.as_ref()).await?;
        let is_awaited = ended.is_some();
        response.job = ended.or(response.job);
        show(context, &response)?;
        match &response.job {
            Some(job) if is_awaited => Ok(must_be_completed(job)?),
            _ => Ok(()),
        }
    }

    /// The job at its end, where that is waited for.
    async fn ended(&self, client: &Client, job: Option<&Job>) -> anyhow::Result<Option<Job>> {
        let Some(job) = job.filter(|_| self.wait || self.watch) else { return Ok(None) };
        note(&format!("job {} is submitted; it goes on when this command is interrupted", job.job_id));
        if self.watch {
            let follow = watch::follow(client, job.job_id, |_| Ok(()));
            return watch::within(self.wait_timeout, job.job_id, follow).await.map(Some);
        }
        Ok(wait::wait(client, job.job_id, self.wait_timeout).await?.job)
    }

    /// Sends mappings that are too many for one message.
    async fn stream(
        &self,
        client: &Client,
        count: i64,
        source: Arc<dyn MappingSource>,
    ) -> anyhow::Result<SubmitJobResponse> {
        if self.dry_run {
            let message = format!(
                "--dry-run: plans {MESSAGE_MAPPINGS_MAX} mappings at most, and there are {count}; plan a part of them"
            );
            return Err(Failure::Usage(message).into());
        }
        let progress = Arc::new(MappingProgress::new(count.unsigned_abs()));
        let shown = Arc::clone(&progress);
        let mut request = self.request(Vec::new())?;
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        let request_id = request.request_id.clone();
        let answer = client.submit_job_stream(request, count, source, move |sent| shown.show(sent)).await;
        progress.end();
        let answer = answer.map_err(anyhow::Error::new);
        if let Err(error) = &answer
            && matches!(exit_of(error), Exit::TryAgain | Exit::TimedOut)
        {
            note(&format!("what is in of it is kept for 60 s: to go on, repeat this with --request-id {request_id}"));
        }
        let SubmitJobStreamResponse { job, already_existed, warnings, total_warnings, unchecked_segments } =
            answer?.message;
        Ok(SubmitJobResponse { job, already_existed, plan: None, warnings, total_warnings, unchecked_segments })
    }

    fn request(&self, id_mappings: Vec<IdMapping>) -> anyhow::Result<SubmitJobRequest> {
        let target = TargetRef {
            uri: self.target.as_ref().map(|target| target.0.clone()).unwrap_or_default(),
            collection_id: self.collection.unwrap_or_default(),
            partition_ids: self.partition_ids()?,
            partitions: self.named_partitions()?,
        };
        Ok(SubmitJobRequest {
            request_id: self.request_id.clone(),
            name: self.name.clone(),
            source: Some(SnapshotRef { uri: self.source.0.clone() }),
            target: (target != TargetRef::default()).then_some(target),
            id_mappings,
            options: Some(JobOptions { labels: self.labels.iter().cloned().collect(), ..self.options.wire() }),
            dry_run: self.dry_run,
            select: self.selection(),
            accept: self.accepted.clone(),
        })
    }

    /// The part of the snapshot that is copied, if it is not all of it.
    fn selection(&self) -> Option<Selection> {
        let chosen = self.partitions.iter().filter_map(|partition| match partition {
            Partition::Chosen(name) => Some(name.clone()),
            Partition::Mapped(..) => None,
        });
        let selection = Selection { partitions: chosen.collect(), segment_ids: self.segments.clone() };
        (selection != Selection::default()).then_some(selection)
    }

    fn partition_ids(&self) -> Result<HashMap<i64, i64>, Failure> {
        let mapped = self.partitions.iter().filter_map(|partition| match partition {
            Partition::Mapped(source, target) => Some((*source, *target)),
            Partition::Chosen(_) => None,
        });
        one_target_each("--partition", mapped)
    }

    fn named_partitions(&self) -> Result<HashMap<String, i64>, Failure> {
        one_target_each("--map-partition", self.partition_targets.iter().cloned())
    }
}

/// One target for each source partition: the wire could not tell a second from the first.
fn one_target_each<K: Eq + Hash + Display + Clone>(
    option: &str,
    pairs: impl Iterator<Item = (K, i64)>,
) -> Result<HashMap<K, i64>, Failure> {
    let mut targets = HashMap::new();
    for (source, target) in pairs {
        if targets.insert(source.clone(), target).is_some_and(|other| other != target) {
            let message = format!("{option}: source partition {source} has two targets; name one");
            return Err(Failure::Usage(message));
        }
    }
    Ok(targets)
}

fn load_mappings(file: &Path) -> Result<Mappings, Failure> {
    mappings::load(file).map_err(|error| Failure::Usage(error.to_string()))
}

/// What the snapshot warns of, as far as it was told.
fn note_warnings(warnings: &[Warning], total: i64) {
    for warning in warnings {
        note(&format!("warning: {}", warning.text));
    }
    let untold = total - i64::try_from(warnings.len()).unwrap_or_default();
    if untold > 0 {
        note(&format!("warning: and {untold} more warnings; `ferry snapshot inspect` tells all of them"));
    }
}

/// What a dry run found, and what would keep the job from being submitted.
fn note_plan(plan: &Plan) {
    let counted = match plan.uncounted_segments {
        0 => String::new(),
        more => format!(", {more} segments not counted"),
    };
    note(&format!(
        "would copy {} segments ({} files, {}{counted}) in {} tasks; nothing was changed",
        plan.total_segments,
        plan.total_files,
        show_bytes(plan.total_bytes),
        plan.total_tasks
    ));
    for conflict in &plan.conflicts {
        note(&format!("conflict: {}", conflict.reason));
    }
    let untold = plan.total_conflicts - i64::try_from(plan.conflicts.len()).unwrap_or_default();
    if untold > 0 {
        note(&format!("and {untold} more conflicts"));
    }
}

fn show(context: &Context, response: &SubmitJobResponse) -> anyhow::Result<()> {
    context.output.answer(response, |response| output::job(&response.job.clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::Submit;
    use clap::Parser;
    use ferry_proto::v1::{ExhaustedPolicy, SubmitJobRequest, VerifyMode};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        submit: Submit,
    }

    fn request(arguments: &[&str]) -> anyhow::Result<SubmitJobRequest> {
        let needed = ["submit", "--source", "file:///s", "--target", "file:///t", "--collection", "200"];
        Line::try_parse_from(needed.iter().chain(arguments))?.submit.request(Vec::new())
    }

    #[test]
    fn what_is_not_given_is_left_to_the_cluster() {
        let request = request(&[]).expect("a request");
        let options = request.options.expect("options");
        assert_eq!(request.target.expect("a target").collection_id, 200);
        assert_eq!(request.source.expect("a source").uri, "file:///s");
        assert_eq!((options.timeout_ms, options.no_timeout, options.priority), (0, false, None));
        assert_eq!(request.request_id, "", "the client makes one for each submit");
    }

    #[test]
    fn every_option_reaches_the_request() {
        let line = "--name n --request-id r --priority 0 --timeout 90s --retention 1h --segments-per-task 5 --attempts 3 \
                    --bandwidth 1MiB --requests-per-second 9 --parallel 4 --verify full --on-exhausted pause --paused --label a=b --partition 1=2 --dry-run";
        let request = request(&line.split_whitespace().collect::<Vec<_>>()).expect("a request");
        let options = request.options.expect("options");
        assert_eq!((request.name.as_str(), request.request_id.as_str(), request.dry_run), ("n", "r", true));
        assert_eq!((options.priority, options.timeout_ms, options.retention_ms), (Some(0), 90_000, 3_600_000));
        assert_eq!((options.segments_per_task_max, options.attempts_max), (5, 3));
        assert_eq!((options.bandwidth_bytes_per_second, options.start_paused), (1 << 20, true));
        assert_eq!((options.requests_per_second, options.attempts_at_once_max), (9, 4));
        assert_eq!(options.verify(), VerifyMode::Full);
        assert_eq!(options.on_exhausted(), ExhaustedPolicy::Pause);
        assert_eq!(options.labels["a"], "b");
        assert_eq!(request.target.expect("a target").partition_ids[&1], 2);
    }

    #[test]
    fn a_partition_with_two_targets_is_refused() {
        assert!(request(&["--partition", "1=2", "--partition", "1=2"]).is_ok());
        let error = request(&["--partition", "1=2", "--partition", "1=3"]).expect_err("two targets");
        assert_eq!(error.to_string(), "--partition: source partition 1 has two targets; name one");
        let error = request(&["--map-partition", "a=2", "--map-partition", "a=3"]).expect_err("two targets");
        assert_eq!(error.to_string(), "--map-partition: source partition a has two targets; name one");
    }

    #[test]
    fn a_part_of_the_snapshot_and_the_targets_of_its_partitions_reach_the_request() {
        let line = "--partition p1 --partition 7 --partition 1=2 --map-partition p1=30 --accept encryption-zone";
        let request = request(&line.split_whitespace().collect::<Vec<_>>()).expect("a request");
        let select = request.select.expect("a selection");
        assert_eq!((select.partitions, select.segment_ids), (vec!["p1".to_owned(), "7".to_owned()], vec![]));
        let target = request.target.expect("a target");
        assert_eq!((target.partition_ids[&1], target.partitions["p1"]), (2, 30));
        assert_eq!(request.accept, ["encryption-zone"]);
        let chosen = super::tests::request(&["--segments", "5,6"]).expect("a request").select.expect("a selection");
        assert_eq!(chosen.segment_ids, [5, 6]);
        assert_eq!(super::tests::request(&["--partition", "1=2"]).expect("a request").select, None);
        assert!(super::tests::request(&["--segments", "5", "--mappings", "f"]).is_err());
    }
}
