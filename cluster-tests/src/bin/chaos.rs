//! `chaos`: runs the chaos suite for some minutes from a seed, and ends with 0 only if nothing was contradicted.

use clap::Parser;
use cluster_tests::chaos::prove::{self, Proof, Target};
use cluster_tests::chaos::{Nemesis, Settings, StoreKind, Trouble, conductor, sandbox};
use cluster_tests::faults::privileges;
use ferry_planted::Bug;
use std::path::PathBuf;
use std::process::ExitCode;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// Real processes, a real network, real faults, and checkers for everything that was answered.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// How long faults are injected; healing and checking come on top.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Of everything that is drawn [default: another one each time].
    #[arg(long)]
    seed: Option<u64>,
    /// Nodes the cluster begins with.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=5))]
    nodes: u64,
    /// Jobs copy into and out of this store too, and its line has faults of its own.
    #[arg(long, value_enum, value_name = "NAME")]
    store: Option<StoreKind>,
    /// Only these faults.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    nemesis: Vec<Nemesis>,
    /// All faults but these; the variable FERRY_LEAVE_OUT names more.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    leave_out: Vec<Nemesis>,
    /// Where the run writes, new or empty; kept when it fails, else removed [default: a new folder for temporary files].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Name every fault, and run nothing.
    #[arg(long)]
    list: bool,
    /// Show that the checkers catch each planted bug; `scripts/chaos --prove` builds what that needs.
    #[arg(long)]
    prove: bool,
    /// Prove it for these bugs alone.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = prove::bug)]
    bug: Vec<Bug>,
    /// Set by the program for a run that looks for one bug, or for none.
    #[arg(long, hide = true, value_parser = prove::target)]
    prove_one: Option<Target>,
    /// Set by the program for the copy of itself that runs in the sandbox.
    #[arg(long, hide = true)]
    inside_the_sandbox: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        Nemesis::all().for_each(|nemesis| println!("{nemesis}"));
        return ExitCode::SUCCESS;
    }
    let ended = if arguments.prove {
        prove_all(arguments)
    } else if arguments.inside_the_sandbox {
        inside(arguments)
    } else {
        sandbox::enter(std::env::args_os().skip(1)).map(|never| match never {})
    };
    ended.unwrap_or_else(|trouble| {
        eprintln!("chaos: {trouble}");
        ExitCode::from(2)
    })
}

fn prove_all(arguments: Arguments) -> Result<ExitCode, Trouble> {
    let (seed, folder) = (arguments.seed.unwrap_or_else(rand::random), folder(arguments.dir)?);
    eprintln!("prove: seed {seed}, in {}", folder.display());
    let proven = prove::prove(&Proof { seed, bugs: arguments.bug, folder })?;
    Ok(if proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what was caught, if anything was.
fn prove_one(target: Target, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let settings = settings(Arguments {
        nemesis: target.faults(),
        minutes: target.minutes(),
        store: target.store(),
        ..arguments
    })?;
    sandbox::prepare(&settings.folder)?;
    match until_asked_to_end(prove::run(&settings))? {
        Some(caught) => {
            println!("{}", caught.line());
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::FAILURE),
    }
}

fn inside(arguments: Arguments) -> Result<ExitCode, Trouble> {
    if let Some(target) = arguments.prove_one {
        return prove_one(target, arguments);
    }
    let settings = settings(arguments)?;
    sandbox::prepare(&settings.folder)?;
    eprintln!(
        "chaos: seed {}, {} nodes, {} minutes, in {}",
        settings.seed,
        settings.nodes,
        settings.minutes,
        settings.folder.display()
    );
    let folder = settings.folder.clone();
    let report = until_asked_to_end(conductor::run(settings))?;
    println!("{report}");
    if !report.passed() {
        return Ok(ExitCode::FAILURE);
    }
    // What is left is images and logs of a run that nobody has to look into.
    std::fs::remove_dir_all(&folder).map_err(|error| Trouble(format!("{}: {error}", folder.display())))?;
    Ok(ExitCode::SUCCESS)
}

fn until_asked_to_end<T>(run: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Trouble(format!("the runtime: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            ended = run => ended,
            () = asked_to_end() => Err(Trouble("asked to end".to_owned())),
        }
    })
}

/// The first process of a sandbox gets no signal that it does not ask for.
async fn asked_to_end() {
    if let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    } else {
        std::future::pending::<()>().await;
    }
}

fn settings(arguments: Arguments) -> Result<Settings, Trouble> {
    let mut nemeses: Vec<Nemesis> =
        if arguments.nemesis.is_empty() { Nemesis::all().collect() } else { arguments.nemesis };
    nemeses.sort_unstable();
    nemeses.dedup();
    nemeses.retain(|nemesis| !arguments.leave_out.contains(nemesis));
    nemeses.retain(|nemesis| arguments.store.is_some() || !nemesis.needs_store());
    nemeses.retain(|nemesis| privileges::may(nemesis.name(), nemesis.tools()));
    if nemeses.is_empty() {
        return Err(Trouble("every fault is left out: leave one in".to_owned()));
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let folder = folder(arguments.dir)?;
    Ok(Settings { minutes: arguments.minutes, seed, nodes: arguments.nodes, nemeses, store: arguments.store, folder })
}

/// A folder of the run's own, for one that passes removes it with all there is in it.
fn folder(given: Option<PathBuf>) -> Result<PathBuf, Trouble> {
    let Some(folder) = given else {
        let made = tempfile::Builder::new().prefix("ferry-chaos-").tempdir();
        return made.map(TempDir::keep).map_err(|error| Trouble(format!("a folder for the run: {error}")));
    };
    let trouble = |error: std::io::Error| Trouble(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(trouble)?;
    if std::fs::read_dir(&folder).map_err(trouble)?.next().is_some() {
        return Err(Trouble(format!(
            "{} is not empty: name a new folder, for a run that passes removes it",
            folder.display()
        )));
    }
    Ok(folder)
}
