//! One large object from an endpoint that is 50 ms away to one that is near, beside a single stream; and with every
//! connection cut in the middle.

use super::peer::{self, Rclone};
use super::relay::{Relay, WINDOW_BYTES};
use super::s3::Pair;
use super::stage::Stage;
use super::{Copy, tree};
use crate::report::{Report, hundredths};
use anyhow::ensure;
use std::path::Path;
use std::time::Duration;

const OBJECT_BYTES: usize = 4 << 30;
/// A stream is as fast in its first quarter as in the rest.
const SAMPLE_DIVISOR: usize = 4;
const DELAY: Duration = Duration::from_millis(50);
const MEBIBYTE: f64 = 1_048_576.0;

const FERRY: &str = "S3, 50 ms away: Ferry, MiB/s";
const STREAM: &str = "S3, 50 ms away: a single stream (rclone), MiB/s";
const MEMORY: &str = "S3, 50 ms away: memory of the worker at most, MiB";
const CUT: &str = "S3, 50 ms away: read over the line with a cut in the middle, to the object's size";

pub(super) async fn measure(copy: &Copy, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let servers = Pair::start(&copy.weed, &copy.rclone, folder)?;
    let (object_bytes, sample_bytes) = (OBJECT_BYTES / copy.divide, OBJECT_BYTES / copy.divide / SAMPLE_DIVISOR);
    let near = Rclone::new(&copy.rclone, Some(&servers));
    for (name, bytes) in [("source", object_bytes), ("sample", sample_bytes)] {
        let root = folder.join(name);
        tree::make_one(&copy.common.binary, &root, bytes)?;
        near.copy(&root.display().to_string(), &format!("left:first/{name}"), peer::S3_FLAGS)?;
        std::fs::remove_dir_all(root)?;
    }
    let relay = Relay::start(&servers.left.address, DELAY).await?;
    let far = Rclone::with_remotes(&copy.rclone, &[("left", &relay.address), ("right", &servers.right.address)]);
    let stage = Stage::set(&copy.common, folder, &servers.settings_by(&relay.address)).await?;
    let (source, target) = ("s3://first/source", "s3://third/ferry");
    for round in 1..=copy.rounds {
        stage.reset_memory_peak()?;
        let took = stage.copy(source, &format!("{target}-{round}")).await?;
        let memory = stage.memory_peak_mebibytes()?;
        report.add(FERRY, rate(object_bytes, took));
        near.purge(&format!("right:third/ferry-{round}"))?;
        let flags = peer::S3_FLAGS;
        let streamed = tokio::task::block_in_place(|| far.copy("left:first/sample", "right:third/stream", flags))?;
        report.add(STREAM, rate(sample_bytes, streamed));
        report.add(MEMORY, memory.round());
        near.purge("right:third/stream")?;
        servers.vacuum()?;
        eprintln!("copy: 50 ms away: round {round} of {}: Ferry {took:.2?}, {memory:.0} MiB", copy.rounds);
    }
    report.add_ratio("S3, 50 ms away: Ferry to a single stream", FERRY, STREAM, "4 or more");
    relay.reset();
    relay.cut_at(object_bytes as u64 / 2);
    stage.copy(source, &format!("{target}-cut")).await?;
    ensure!(relay.was_cut(), "the job ended before the line was cut");
    report.add(CUT, hundredths(relay.down_bytes() as f64 / object_bytes as f64));
    report.set_goal(CUT, "below 1.05");
    report.note(&format!(
        "50 ms away: one object of {} MiB from an endpoint behind a relay of the benchmark, which holds every byte back for \
         {} ms each way and has at most {} MiB of a connection on the way, as much as Linux' send buffer by default; the \
         target's endpoint is near. The single stream is rclone with its best flags, which reads an S3 object by one request \
         whatever they are; it copies an object of a quarter of the size. The cut ends every connection at once when half of \
         the object has come; measured once.",
        object_bytes >> 20,
        DELAY.as_millis(),
        WINDOW_BYTES >> 20,
    ));
    Ok(())
}

fn rate(bytes: usize, took: Duration) -> f64 {
    hundredths(bytes as f64 / MEBIBYTE / took.as_secs_f64())
}
