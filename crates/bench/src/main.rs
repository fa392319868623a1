//! Benchmarks: each starts what it measures, prints one JSON line per figure on stdout, and writes its own table into the
//! document of results. What it does meanwhile goes to stderr; nothing is asserted on a time.

mod cluster;
mod copy;
mod distribution;
mod etcd;
mod failover;
mod gauges;
mod held;
mod job;
mod jobs;
mod latency;
mod load;
mod milvus;
mod probes;
mod process;
mod read;
mod report;
mod reports;
mod scale;
mod worker;
mod write;
mod writer;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No benchmark goes on for longer, however slow the machine is.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Measure Ferry on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 120)]
struct Bench {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// How long no write is acknowledged when the leader is killed, and when it hands over.
    Failover(failover::Failover),
    /// How many durable writes are acknowledged in a second, and how long one takes, beside etcd.
    Write(write::Write),
    /// How many status reads followers answer in a second, beside etcd.
    Read(read::Read),
    /// How long the metadata of one job takes, beside etcd with the writes that Milvus makes for it, and as well as can be.
    Job(job::Job),
    /// How long a job of one small segment takes with an idle worker.
    Latency(latency::Latency),
    /// How long whole snapshots take to copy, on a disk and between S3 servers, beside rclone, cp and the kernel.
    Copy(copy::Copy),
    /// What jobs of more and more segments cost, and what a node takes that holds ten million of them.
    Scale(scale::Scale),
}

/// What every benchmark is told.
#[derive(Debug, Args)]
struct Common {
    /// The binary that is measured, built for release.
    #[arg(long, value_name = "FILE", default_value = "target/release/ferry")]
    binary: PathBuf,
    /// Where the nodes keep their data: a folder on a real disk [default: a temporary folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A key of every node's configuration in place of its default, like raft.heartbeat-interval=100ms.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// The document whose table of this benchmark is replaced.
    #[arg(long, value_name = "FILE", overrides_with = "document")]
    document: Option<PathBuf>,
    /// Write no document.
    #[arg(long)]
    no_document: bool,
}

impl Common {
    /// What the nodes were told, in words.
    fn settings(&self) -> String {
        match self.settings.as_slice() {
            [] => "defaults".to_owned(),
            settings => settings.join(", "),
        }
    }

    /// The document that the table goes into.
    fn document(&self) -> Option<&Path> {
        self.document.as_deref().filter(|_| !self.no_document)
    }
}

/// A number of things to do: nothing measured is no figure.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a positive number".to_owned()),
        Ok(number) => Ok(number),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let measured = async {
        match Bench::parse().benchmark {
            Benchmark::Failover(failover) => failover.run().await,
            Benchmark::Write(write) => write.run().await,
            Benchmark::Read(read) => read.run().await,
            Benchmark::Job(job) => job.run().await,
            Benchmark::Latency(latency) => latency.run().await,
            Benchmark::Copy(copy) => copy.run().await,
            Benchmark::Scale(scale) => scale.run().await,
        }
    };
    tokio::time::timeout(LONGEST, measured).await.with_context(|| format!("not done after {LONGEST:?}"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_two_options_of_a_benchmark_are_the_same() {
        Bench::command().debug_assert();
    }
}
