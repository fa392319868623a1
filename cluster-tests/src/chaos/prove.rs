//! Proof that the checkers catch what they are there for: each planted bug in turn, under the faults that let it bite, and
//! then the same build without a bug.
//!
//! Invariant: a bug counts as caught by a contradiction alone, never by traffic that was thin or by a run that was not
//! possible; and what is never caught, or a build without a bug that is caught at something, fails the proof.

mod run;

pub use run::{Catch, run};

use super::nemesis::Nemesis;
use super::trouble::{During, Trouble};
use crate::process::binary;
use ferry_planted::Bug;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Names the bug to a node or worker of the planted build.
const VARIABLE: &str = "FERRY_PLANTED_BUG";
/// What the version of such a build says.
const PLANTED: &str = "planted bugs";
/// Told to a run that looks for one bug.
pub const ONE: &str = "--prove-one";
/// Of the faults, in a run without a bug; a run with one ends when it is caught.
const CONTROL_MINUTES: &str = "1.5";

/// What is to be proven.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Of everything that is drawn.
    pub seed: u64,
    /// Only these bugs; all of them and the run without a bug where it names none.
    pub bugs: Vec<Bug>,
    /// Each run writes into a folder of its own in here.
    pub folder: PathBuf,
}

/// What came of one run.
struct Row {
    name: &'static str,
    caught: Option<String>,
    expected: bool,
}

/// The bug of this name.
///
/// # Errors
/// The names there are.
pub fn bug(name: &str) -> Result<Bug, String> {
    Bug::ALL.into_iter().find(|bug| bug.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        format!("there is no bug `{name}`; there are {}", names.join(", "))
    })
}

/// The faults that let a bug bite; where none is needed, one that is cheap.
#[must_use]
pub fn faults(bug: Bug) -> &'static [Nemesis] {
    match bug {
        Bug::VoteNotSynced => &[Nemesis::KillAll],
        Bug::LogNotSynced => &[Nemesis::PowerLossAll],
        Bug::AppliedBesideRows => &[Nemesis::KillLeader, Nemesis::KillFollower],
        Bug::StaleReadAsLinearizable | Bug::MinRevisionIgnored => &[Nemesis::PauseFollower, Nemesis::PartitionFollower],
        Bug::LeaderReadsUnconfirmed => &[Nemesis::PauseLeader, Nemesis::PartitionLeader],
        Bug::IdWindowReused => &[Nemesis::KillLeader, Nemesis::Transfer],
        Bug::RequestIdForgotten => &[Nemesis::KillLeader, Nemesis::PauseLeader],
        Bug::WallClockIsTime => &[Nemesis::ClockJump],
        Bug::CheckpointLosesRow => &[Nemesis::CheckpointInstall],
        Bug::LateResultAccepted
        | Bug::SettleForgetsSegment
        | Bug::EarlyPublication
        | Bug::LastFileSkipped
        | Bug::CleanUpForgetsFile
        | Bug::WatchMissesEnd
        | Bug::TargetLockIgnored => &[Nemesis::KillFollower],
    }
}

/// Proves it; whether everything was as it must be. The table goes to stdout.
///
/// # Errors
/// When a run was not possible, or the binary is no planted build.
pub fn prove(proof: &Proof) -> Result<bool, Trouble> {
    check_build()?;
    let all = proof.bugs.is_empty();
    let bugs = if all { Bug::ALL.to_vec() } else { proof.bugs.clone() };
    let mut rows = Vec::new();
    for bug in bugs {
        rows.push(with_bug(proof, bug)?);
    }
    if all {
        rows.push(without_bug(proof)?);
    }
    println!("\n| bug | caught by | after | which said |\n|---|---|---:|---|");
    for Row { name, caught, expected } in &rows {
        let verdict = if *expected { "" } else { "UNEXPECTED: " };
        println!("| {name} | {verdict}{} |", caught.as_deref().unwrap_or("nothing | |"));
    }
    let wrong = rows.iter().filter(|row| !row.expected).count();
    println!("\nprove: {} runs, {wrong} not as they must be; logs are in {}", rows.len(), proof.folder.display());
    Ok(wrong == 0)
}

fn check_build() -> Result<(), Trouble> {
    let version = Command::new(binary()).arg("--version").output().during(|| "ferry --version".to_owned())?;
    if String::from_utf8_lossy(&version.stdout).contains(PLANTED) {
        return Ok(());
    }
    Err(Trouble(format!("{} has no planted bugs: run scripts/chaos --prove, which builds one", binary().display())))
}

fn with_bug(proof: &Proof, bug: Bug) -> Result<Row, Trouble> {
    let name = bug.name();
    eprintln!("prove: {name}");
    let folder = folder(proof, name)?;
    let seed = proof.seed.to_string();
    let printed = child(&folder, &[ONE, name, "--seed", &seed], Some(name))?;
    let within = format!("{}/", folder.join("run").display());
    let caught = printed.lines().find_map(Catch::read).map(|caught| caught.replace(&within, ""));
    eprintln!("prove: {name}: {}", caught.as_deref().unwrap_or("NOT CAUGHT"));
    Ok(Row { name, expected: caught.is_some(), caught })
}

/// The same build, all faults that any bug needs, and no bug: an ordinary run, which has to pass.
fn without_bug(proof: &Proof) -> Result<Row, Trouble> {
    let name = "no bug";
    eprintln!("prove: {name}");
    let mut names: Vec<&str> = Bug::ALL.into_iter().flat_map(faults).map(|nemesis| nemesis.name()).collect();
    names.sort_unstable();
    names.dedup();
    let (folder, began, seed) = (folder(proof, "no-bug")?, Instant::now(), proof.seed.to_string());
    let printed = child(
        &folder,
        &[
            "--minutes",
            CONTROL_MINUTES,
            "--seed",
            &seed,
            "--nemesis",
            &names.join(","),
            "--dir",
            &text(&folder.join("run")),
        ],
        None,
    )?;
    let passed = printed.lines().any(|line| line.ends_with(": passed"));
    let seconds = began.elapsed().as_secs();
    let first = printed.lines().find(|line| line.starts_with("VIOLATION") || line.starts_with("GAP"));
    let caught = if passed {
        format!("nothing | {seconds} s |")
    } else {
        format!("something | {seconds} s | {}", first.unwrap_or("no verdict"))
    };
    Ok(Row { name, caught: Some(caught), expected: passed })
}

fn folder(proof: &Proof, name: &str) -> Result<PathBuf, Trouble> {
    let folder = proof.folder.join(name);
    std::fs::create_dir_all(&folder).during(|| text(&folder))?;
    Ok(folder)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs this program again; what it printed. A run that was not possible says so with its exit code.
fn child(folder: &Path, arguments: &[&str], bug: Option<&str>) -> Result<String, Trouble> {
    let own = std::env::current_exe().during(|| "the path of this program".to_owned())?;
    let log = folder.join("log.txt");
    let output = Command::new(own)
        .args(arguments)
        .args(if bug.is_some() { vec!["--dir".to_owned(), text(&folder.join("run"))] } else { Vec::new() })
        .env(VARIABLE, bug.unwrap_or_default())
        .stdin(Stdio::null())
        .stderr(File::create(&log).during(|| text(&log))?)
        .output()
        .during(|| "the run cannot be started".to_owned())?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    std::fs::write(folder.join("report.txt"), &printed).during(|| text(folder))?;
    match output.status.code() {
        Some(0 | 1) => Ok(printed),
        other => Err(Trouble(format!("a run was not possible (exit code {other:?}): see {}", log.display()))),
    }
}
