//! The commands, one file each, under the words that the command line has for them.

mod cluster;
mod completions;
mod demo;
mod dev;
mod id;
mod job;
mod page;
mod segment;
mod server;
mod snapshot;
mod store;
mod task;
mod worker;

use crate::connection::Connection;
use crate::output::{Output, note};
use clap::Subcommand;
use ferry_client::Answer;
use tracing::level_filters::LevelFilter;

/// What every command is given.
pub(crate) struct Context {
    pub(crate) connection: Connection,
    pub(crate) output: Output,
}

impl Context {
    /// Says how old a stale answer may be.
    fn show_age<R>(&self, answer: &Answer<R>) {
        if let Some(age_ms) = answer.staleness_ms
            && !self.output.is_json()
        {
            note(&format!("as node {} had it at most {age_ms} ms ago", answer.endpoint));
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the main job from nothing: three nodes, two workers, real files, a killed leader, everything checked.
    Demo(demo::Demo),
    /// Run a whole cluster in this process until Ctrl-C.
    Dev(dev::Dev),
    /// Run one node of a cluster.
    Server(server::Server),
    /// Run a worker, or look after those that run.
    Worker(worker::WorkerCommand),
    /// Submit jobs and look after them.
    #[command(subcommand)]
    Job(job::Job),
    /// Look at the tasks of jobs.
    #[command(subcommand)]
    Task(task::Task),
    /// Look at target segments.
    #[command(subcommand)]
    Segment(segment::Segment),
    /// Get ids that nobody else gets.
    #[command(subcommand)]
    Id(id::Id),
    /// Look after the cluster itself.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Make, read and verify snapshots.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Show and try object stores.
    #[command(subcommand)]
    Store(store::Store),
    /// Write the completions of a shell to stdout.
    Completions(completions::Completions),
}

impl Command {
    /// How much is logged where nothing is said: what runs on says what it does, what answers only warns.
    pub(crate) fn log_level(&self) -> LevelFilter {
        match self {
            Self::Server(_) => LevelFilter::INFO,
            Self::Worker(worker) if worker.runs() => LevelFilter::INFO,
            Self::Dev(_)
            | Self::Demo(_)
            | Self::Worker(_)
            | Self::Job(_)
            | Self::Task(_)
            | Self::Segment(_)
            | Self::Id(_)
            | Self::Cluster(_)
            | Self::Snapshot(_)
            | Self::Store(_)
            | Self::Completions(_) => LevelFilter::WARN,
        }
    }

    /// Runs the command.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Demo(demo) => demo.run().await,
            Self::Dev(dev) => dev.run().await,
            Self::Server(server) => server.run().await,
            Self::Worker(worker) => worker.run(context).await,
            Self::Job(job) => job.run(context).await,
            Self::Task(task) => task.run(context).await,
            Self::Segment(segment) => segment.run(context).await,
            Self::Id(id) => id.run(context).await,
            Self::Cluster(cluster) => cluster.run(context).await,
            Self::Snapshot(snapshot) => snapshot.run(context).await,
            Self::Store(store) => store.run(context).await,
            Self::Completions(completions) => completions.run(),
        }
    }
}
