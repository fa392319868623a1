//! Copies of whole snapshots, by real jobs of real nodes and a worker, beside the tools that copy the same objects without
//! one: on a disk, inside an S3 server, between two, and over a long line. All take turns in one run.

mod case;
mod far;
mod peer;
mod relay;
mod s3;
mod stage;
mod tree;

use crate::report::Report;
use crate::{Common, positive};
use case::{Case, Stores};
use clap::Args;
use std::path::{Path, PathBuf};

/// Copies of whole snapshots beside rclone, cp and a loop of copies inside the kernel.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    common: Common,
    /// How often each case is measured, Ferry and its peers in turn.
    #[arg(long, default_value_t = 5, value_parser = positive)]
    rounds: usize,
    /// The cases [default: all].
    #[arg(long, value_delimiter = ',', value_enum)]
    cases: Vec<Case>,
    /// Every case has so many objects less, or an object of so many bytes less: 10 is a tenth.
    #[arg(long, default_value_t = 1, value_parser = positive)]
    divide: usize,
    /// The S3 server.
    #[arg(long, value_name = "FILE", default_value = ".venv/bin/weed")]
    weed: PathBuf,
    /// The peer.
    #[arg(long, value_name = "FILE", default_value = "rclone")]
    rclone: PathBuf,
}

impl Copy {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let settings = match self.divide {
            1 => self.common.settings(),
            divide => format!("{}; sizes divided by {divide}", self.common.settings()),
        };
        let mut report = Report::new("copy", "Copies beside rclone, cp and the kernel", &settings);
        let cases = if self.cases.is_empty() { Case::ALL.to_vec() } else { self.cases.clone() };
        if cases.iter().any(|case| *case != Case::Far) {
            self.measure_all(&folder.join("near"), &cases, &mut report).await?;
        }
        if cases.contains(&Case::Far) {
            far::measure(&self, &folder.join("far"), &mut report).await?;
        }
        report.note(&self.note());
        report.publish(self.common.document())
    }

    async fn measure_all(&self, folder: &Path, cases: &[Case], report: &mut Report) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let needs_stores = cases.iter().any(|case| case.stores() != Stores::None && *case != Case::Far);
        let servers = if needs_stores { Some(s3::Pair::start(&self.weed, &self.rclone, folder)?) } else { None };
        let stores = servers.as_ref().map(s3::Pair::settings).unwrap_or_default();
        let stage = stage::Stage::set(&self.common, folder, &stores).await?;
        for case in cases.iter().filter(|case| **case != Case::Far) {
            case::measure(self, *case, &stage, servers.as_ref(), folder, report).await?;
        }
        Ok(())
    }

    fn note(&self) -> String {
        format!(
            "Ferry: one `SubmitJob` of a snapshot without checksums, as Milvus makes them, to three nodes and one worker of 4 \
             slots with defaults, all on this machine, until `WaitJob` has answered Completed: leases, claims, verification \
             and the metadata of the copy's own snapshot are in it, and everything is durable. The peers copy the same \
             objects and nothing else. The sources are in the system's cache for all; what a tool left to be written is \
             synced before the next begins, outside of its time, but for those whose name says that they sync. S3 is \
             SeaweedFS of `scripts/setup`, one process for each endpoint, on the same two cores. rclone is Debian's 1.60, \
             always with `--no-check-dest`, without its own checks of what lies at the target, and: local: `{}`; S3: `{}`; \
             inside one bucket: `{}`. Segments have 20 objects, or 4 of 16 MiB.",
            peer::LOCAL_FLAGS.join(" "),
            peer::S3_FLAGS.join(" "),
            peer::SERVER_SIDE_FLAGS.join(" "),
        )
    }
}
