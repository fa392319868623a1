//! `ferry demo`: the main job from nothing, with real processes, real files and a killed leader; every claim is checked.
//!
//! Invariant: it succeeds only if each check held, and whatever happens, no child process outlives it.

mod bulk;
mod failover;
mod nodes;
mod ports;
mod proof;
mod restore;
mod sample;
mod steps;
mod tree;
mod witness;

use crate::exit::Failure;
use crate::output::note;
use crate::shutdown;
use anyhow::{Context, ensure};
use clap::{ArgAction, Args};
use nodes::Nodes;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use steps::Steps;
use tempfile::TempDir;

/// Collections of the targets.
const SAMPLE_COLLECTION: i64 = 200;
const BULK_COLLECTION: i64 = 300;

/// Show the main job from nothing: three nodes, two workers, real files, a killed leader, everything checked.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where everything goes, new or empty; it is kept [default: a temporary folder, removed after success].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Segments of the bulk job, of about 2.5 MiB each.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(20..=600))]
    segments: u16,
    /// Kill the leader with SIGKILL in the middle of the bulk job.
    #[arg(
        long,
        value_name = "true|false",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set
    )]
    kill_leader: bool,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let folder = DemoFolder::new(self.dir.as_deref())?;
        let outcome = tokio::select! {
            outcome = self.show(&folder.path) => outcome,
            () = shutdown::requested() => Err(Interrupted.into()),
        };
        folder.close(outcome)
    }

    async fn show(&self, dir: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut steps = Steps::new(if self.kill_leader { 8 } else { 6 });

        steps.begin("Start three coordinator nodes and two workers, each a process of its own");
        let mut nodes = Nodes::start(dir).await?;
        nodes.show(&steps).await?;

        steps.begin("Restore the segments that a real Milvus wrote, to new ids");
        let sample = sample::unpack(&dir.join("sample"))?;
        let restored = restore::sample(&steps, &nodes, &sample, dir).await?;

        steps.begin(&format!("Make a source of {} segments in the same layout", self.segments));
        let bulk = bulk::make(&steps, dir.join("bulk"), self.segments).await?;

        steps.begin("Copy them in one job, while every node is read all the time");
        let witness = witness::Witness::start(&nodes)?;
        let job = restore::submit_bulk(&steps, &nodes, &bulk, dir, self.segments).await?;
        witness.watch(job);
        let failover = if self.kill_leader {
            let percent = restore::until_middle(&steps, &nodes, job).await?;
            steps.begin("Kill the leader with SIGKILL");
            Some(failover::kill_leader(&steps, &mut nodes, job, percent).await?)
        } else {
            None
        };
        let finished = restore::finish(&steps, &nodes, job).await?;

        steps.begin("Check every claim");
        let proven = proof::bulk(&steps, &nodes, &bulk, dir, &finished, self.segments).await?;
        let seen = witness.verdict(&nodes).await?;
        seen.show(&steps);

        if let Some(failover) = &failover {
            steps.begin(&format!("Start node {} again", failover.killed_id));
            failover::restart(&steps, &mut nodes, failover.killed_id, job, self.segments).await?;
        }
        proof::invariants(&steps, &nodes).await?;

        steps.begin("Stop everything");
        nodes.stop(&steps).await?;
        steps.summary(&restored, &proven, failover.as_ref(), &seen, begun.elapsed());
        Ok(())
    }
}

/// The folder of a demo.
struct DemoFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl DemoFolder {
    fn new(dir: Option<&Path>) -> anyhow::Result<Self> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix("ferry-demo-").tempdir()?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        std::fs::create_dir_all(dir).with_context(|| format!("--dir: {} cannot be made", dir.display()))?;
        let is_empty = std::fs::read_dir(dir)?.next().is_none();
        ensure!(is_empty, Failure::Usage(format!("--dir: {} is not empty; name a new folder", dir.display())));
        Ok(Self { path: dir.canonicalize()?, temporary: None })
    }

    /// Keeps what is needed to see what went wrong.
    fn close(self, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
        let is_failure = outcome.as_ref().is_err_and(|error| !error.is::<Interrupted>());
        match self.temporary {
            Some(temporary) if !is_failure => {
                note("removing the demo's folder; --dir keeps it");
                let removed = temporary.close().context("the folder of the demo cannot be removed");
                outcome.and(removed)
            }
            temporary => {
                // Kept: the logs are the evidence.
                let path = temporary.map_or(self.path, TempDir::keep);
                outcome.with_context(|| format!("the demo failed; see the logs in {}", path.join("logs").display()))
            }
        }
    }
}

/// The user has had enough.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; every process of the demo has been ended")]
struct Interrupted;

/// Tries again until `limit` what need not be so yet.
async fn until<T, F, Fut>(what: &str, limit: Duration, attempt: F) -> anyhow::Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what}: not within {} s", limit.as_secs())));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
