//! `sim`: replays one seed, or looks through many for the first that contradicts what must hold.

use clap::Parser;
use ferry_sim::{Report, Simulation};
use std::ops::Range;
use std::process::ExitCode;

/// Simulates Ferry's machine with leaders, workers, clients and faults, each seed a history of its own.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    /// Replay this seed.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Run the seeds from A up to B, B not included, until one fails.
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Print what happens.
    #[arg(long, requires = "seed")]
    verbose: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parse = |number: &str| number.trim().parse::<u64>().map_err(|error| format!("{number:?}: {error}"));
    let (from, to) = text.split_once("..").ok_or("give two numbers, as in 0..1000")?;
    Ok(parse(from)?..parse(to)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => replay(seed, arguments.verbose),
        (None, Some(seeds)) => search(seeds),
        (None, None) => ExitCode::FAILURE,
    }
}

fn replay(seed: u64, verbose: bool) -> ExitCode {
    let report = Simulation { transcribed: verbose, ..Simulation::of_seed(seed) }.run();
    print!("{}", report.transcript);
    for (what, count) in &report.counts {
        println!("{count:>7}  {what}");
    }
    verdict(seed, &report)
}

fn search(seeds: Range<u64>) -> ExitCode {
    let count = seeds.end.saturating_sub(seeds.start);
    for seed in seeds {
        let report = Simulation::of_seed(seed).run();
        if report.contradiction.is_some() {
            println!("replay it: sim --seed {seed} --verbose");
            return verdict(seed, &report);
        }
    }
    println!("{count} seeds, no contradiction");
    ExitCode::SUCCESS
}

fn verdict(seed: u64, report: &Report) -> ExitCode {
    match &report.contradiction {
        Some(contradiction) => {
            println!("seed {seed}: {contradiction}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: no contradiction");
            ExitCode::SUCCESS
        }
    }
}
