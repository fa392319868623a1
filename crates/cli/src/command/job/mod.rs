//! `ferry job`: submit jobs and look after them.

mod cancel;
mod clean_up;
mod events;
mod explain;
mod get;
mod list;
mod pause;
mod resume;
mod submit;
mod update;
mod wait;
mod watch;

use super::Context;
use clap::Subcommand;

/// Submit jobs and look after them.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Submit a job: copy segments of a snapshot to new ids.
    Submit(Box<submit::Submit>),
    /// List jobs.
    List(list::List),
    /// Show one job.
    Get(get::Get),
    /// Follow a job until it has ended.
    Watch(watch::Watch),
    /// Show what happened to jobs, and what happens.
    Events(events::Events),
    /// Wait until a job has ended; the exit code says how.
    Wait(wait::Wait),
    /// End a job; none of its targets becomes visible.
    Cancel(cancel::Cancel),
    /// Delete what a failed job keeps.
    CleanUp(clean_up::CleanUp),
    /// Start no further attempt of a job.
    Pause(pause::Pause),
    /// Take back a pause.
    Resume(resume::Resume),
    /// Change a running job's options.
    Update(update::Update),
    /// Say what a job waits for.
    Explain(explain::Explain),
}

impl Job {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Submit(submit) => submit.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Get(get) => get.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::Events(events) => events.run(context).await,
            Self::Wait(wait) => wait.run(context).await,
            Self::Cancel(cancel) => cancel.run(context).await,
            Self::CleanUp(clean_up) => clean_up.run(context).await,
            Self::Pause(pause) => pause.run(context).await,
            Self::Resume(resume) => resume.run(context).await,
            Self::Update(update) => update.run(context).await,
            Self::Explain(explain) => explain.run(context).await,
        }
    }
}
