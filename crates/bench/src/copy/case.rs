//! The cases on this machine: what is copied, from where to where, beside whom, and what is wanted.

use super::Copy;
use super::peer::{self, Rclone};
use super::s3::Pair;
use super::stage::Stage;
use super::tree::Shape;
use crate::jobs;
use crate::report::{Report, hundredths};
use anyhow::Context;
use clap::ValueEnum;
use std::path::Path;
use std::time::Duration;

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;

/// One row of goals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// 64 objects of 16 MiB from folder to folder.
    LocalLarge,
    /// 20,000 objects of 16 KiB from folder to folder.
    LocalSmall,
    /// 2,000 objects of 64 KiB and 20 of 64 MiB inside one bucket.
    OneBucket,
    /// The same between two buckets of one endpoint.
    TwoBuckets,
    /// The same between two endpoints.
    TwoEndpoints,
    /// The same from an endpoint to a folder.
    ToLocal,
    /// The same from a folder to an endpoint.
    FromLocal,
    /// One object of 4 GiB between two endpoints, one of them 50 ms away.
    Far,
}

/// Which servers a case needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stores {
    None,
    OneBucket,
    TwoBuckets,
    Both,
    Source,
    Target,
}

/// Who copies, and what the ratio of its time to Ferry's should be.
struct Peer {
    name: &'static str,
    goal: &'static str,
}

const RCLONE: &str = "rclone";
const CP: &str = "cp -r and sync";
const KERNEL: &str = "copy_file_range and fdatasync in 8 threads";

impl Case {
    pub(super) const ALL: [Self; 8] = [
        Self::LocalLarge,
        Self::LocalSmall,
        Self::OneBucket,
        Self::TwoBuckets,
        Self::TwoEndpoints,
        Self::ToLocal,
        Self::FromLocal,
        Self::Far,
    ];

    pub(super) fn stores(self) -> Stores {
        match self {
            Self::LocalLarge | Self::LocalSmall => Stores::None,
            Self::OneBucket => Stores::OneBucket,
            Self::TwoBuckets => Stores::TwoBuckets,
            Self::TwoEndpoints | Self::Far => Stores::Both,
            Self::ToLocal => Stores::Source,
            Self::FromLocal => Stores::Target,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::LocalLarge => "local, 64 x 16 MiB",
            Self::LocalSmall => "local, 20,000 x 16 KiB",
            Self::OneBucket => "S3, one bucket",
            Self::TwoBuckets => "S3, two buckets of one endpoint",
            Self::TwoEndpoints => "S3, two endpoints",
            Self::ToLocal => "S3 to local",
            Self::FromLocal => "local to S3",
            Self::Far => "S3, 50 ms away",
        }
    }

    fn shape(self, divide: usize) -> Shape {
        match self {
            Self::LocalLarge => {
                Shape { small: (64 / divide).max(4), small_bytes: 16 * MEBIBYTE, per_segment: 4, large: 0 }
            }
            Self::LocalSmall => {
                Shape { small: (20_000 / divide).max(20), small_bytes: 16 * KIBIBYTE, per_segment: 20, large: 0 }
            }
            Self::OneBucket | Self::TwoBuckets | Self::TwoEndpoints | Self::ToLocal | Self::FromLocal | Self::Far => {
                Shape {
                    small: (2_000 / divide).max(20),
                    small_bytes: 64 * KIBIBYTE,
                    per_segment: 20,
                    large: (20 / divide).max(1),
                }
            }
        }
    }

    fn peers(self) -> &'static [Peer] {
        match self {
            Self::LocalLarge => &[
                Peer { name: KERNEL, goal: "1.15 or more" },
                Peer { name: RCLONE, goal: "3.5 or more" },
                Peer { name: CP, goal: "" },
            ],
            Self::LocalSmall => &[
                Peer { name: RCLONE, goal: "3 or more" },
                Peer { name: CP, goal: "" },
                Peer { name: KERNEL, goal: "" },
            ],
            Self::OneBucket | Self::TwoEndpoints | Self::ToLocal | Self::FromLocal => {
                &[Peer { name: RCLONE, goal: "1.5 or more" }]
            }
            Self::TwoBuckets => &[Peer { name: RCLONE, goal: "" }],
            Self::Far => &[],
        }
    }
}

/// Where a case copies from and to, as each tool is told.
struct Ends {
    source_uri: String,
    target_uri: String,
    source_path: String,
    target_path: String,
}

/// Measures one case, its sources made and removed.
pub(super) async fn measure(
    copy: &Copy,
    case: Case,
    stage: &Stage,
    servers: Option<&Pair>,
    folder: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let shape = case.shape(copy.divide);
    let tree = shape.make(&copy.common.binary, &folder.join("source"))?;
    let rclone = Rclone::new(&copy.rclone, servers);
    let from_store = matches!(case.stores(), Stores::OneBucket | Stores::TwoBuckets | Stores::Both | Stores::Source);
    if from_store {
        rclone.copy(&tree.display().to_string(), "left:first/source", peer::S3_FLAGS)?;
    }
    for round in 1..=copy.rounds {
        let ferry = ends(case, &tree, folder, &format!("ferry-{round}"));
        stage.reset_memory_peak()?;
        let took = stage.copy(&ferry.source_uri, &ferry.target_uri).await?;
        let memory = stage.memory_peak_mebibytes()?;
        add(report, case, "Ferry", took);
        report.add(&format!("{}: memory of the worker at most, MiB", case.title()), memory.round());
        remove(case, &rclone, &ferry, folder)?;
        for peer in case.peers() {
            let there = ends(case, &tree, folder, &format!("peer-{round}"));
            let took = tokio::task::block_in_place(|| run_peer(peer, case, &rclone, &there, &tree))
                .with_context(|| format!("{} did not copy {}", peer.name, case.title()))?;
            add(report, case, peer.name, took);
            remove(case, &rclone, &there, folder)?;
        }
        eprintln!("copy: {}: round {round} of {}: Ferry {took:.2?}, {memory:.0} MiB", case.title(), copy.rounds);
    }
    for peer in case.peers() {
        let (ferry, theirs) = (figure(case, "Ferry"), figure(case, peer.name));
        report.add_ratio(&format!("{}: {} to Ferry", case.title(), peer.name), &theirs, &ferry, peer.goal);
    }
    if case == Case::TwoEndpoints {
        report.set_goal(&format!("{}: memory of the worker at most, MiB", case.title()), "below 256");
    }
    std::fs::remove_dir_all(&tree)?;
    if from_store {
        rclone.purge("left:first/source")?;
    }
    servers.map_or(Ok(()), Pair::vacuum)
}

fn figure(case: Case, who: &str) -> String {
    format!("{}: {who}, s", case.title())
}

fn add(report: &mut Report, case: Case, who: &str, took: Duration) {
    report.add(&figure(case, who), hundredths(took.as_secs_f64()));
}

fn ends(case: Case, tree: &Path, folder: &Path, target: &str) -> Ends {
    let (local, target_path) = (folder.join(target), folder.join(target).display().to_string());
    let (local_source, local_target) = (jobs::uri(tree), jobs::uri(&local));
    let tree = tree.display().to_string();
    let source = || ("s3://first/source".to_owned(), "left:first/source".to_owned());
    let (source_uri, source_path) = match case.stores() {
        Stores::None | Stores::Target => (local_source, tree),
        Stores::OneBucket | Stores::TwoBuckets | Stores::Both | Stores::Source => source(),
    };
    let (target_uri, target_path) = match case.stores() {
        Stores::None | Stores::Source => (local_target, target_path),
        Stores::OneBucket => (format!("s3://first/{target}"), format!("left:first/{target}")),
        Stores::TwoBuckets => (format!("s3://second/{target}"), format!("left:second/{target}")),
        Stores::Both | Stores::Target => (format!("s3://third/{target}"), format!("right:third/{target}")),
    };
    Ends { source_uri, target_uri, source_path, target_path }
}

fn run_peer(peer: &Peer, case: Case, rclone: &Rclone, ends: &Ends, tree: &Path) -> anyhow::Result<Duration> {
    match peer.name {
        CP => peer::copy_and_sync(tree, Path::new(&ends.target_path)),
        KERNEL => peer::copy_in_kernel(tree, Path::new(&ends.target_path)),
        _ => {
            let flags = match case.stores() {
                Stores::None => peer::LOCAL_FLAGS,
                Stores::OneBucket | Stores::TwoBuckets => peer::SERVER_SIDE_FLAGS,
                Stores::Both | Stores::Source | Stores::Target => peer::S3_FLAGS,
            };
            rclone.copy(&ends.source_path, &ends.target_path, flags)
        }
    }
}

/// Removes a copy, and syncs what the tool has left to be written: the next one does not pay for it.
fn remove(case: Case, rclone: &Rclone, ends: &Ends, folder: &Path) -> anyhow::Result<()> {
    match case.stores() {
        Stores::None | Stores::Source => std::fs::remove_dir_all(&ends.target_path)?,
        Stores::OneBucket | Stores::TwoBuckets | Stores::Both | Stores::Target => rclone.purge(&ends.target_path)?,
    }
    peer::sync(folder)
}
