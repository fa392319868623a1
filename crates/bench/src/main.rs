//! Benchmarks: each starts what it measures, prints one JSON line per figure on stdout, and writes its own table into the
//! document of results. What it does meanwhile goes to stderr; nothing is asserted on a time.

mod cluster;
mod distribution;
mod failover;
mod report;
mod writer;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Bench::parse().benchmark {
        Benchmark::Failover(failover) => failover.run().await,
    }
}
