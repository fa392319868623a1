//! Proof that the checkers catch what they are there for: each planted bug in turn, under the faults that let it bite, and
//! then the same build without a bug.
//!
//! Invariant: a bug counts as caught by a contradiction alone, never by traffic that was thin or by a run that was not
//! possible; and what is never caught, or a build without a bug that is caught at something, fails the proof.

mod run;

pub use run::{Catch, run};

use super::nemesis::Nemesis;
use super::store::StoreKind;
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
/// Names the run without a bug.
const NO_BUG: &str = "no-bug";
/// Of the faults, for as long as nothing is caught: with a bug; with one that only files tell of, which are looked at in the
/// end; and without one, where there are more faults.
const MINUTES: f64 = 1.0;
const MINUTES_OF_FILES: f64 = 0.4;
const CONTROL_MINUTES: f64 = 2.0;

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

/// What one run looks for: a bug, or that there is none.
#[derive(Debug, Clone, Copy)]
pub struct Target(Option<Bug>);

impl Target {
    /// The faults of the run.
    #[must_use]
    pub fn faults(self) -> Vec<Nemesis> {
        match self.0 {
            Some(bug) => faults(bug).to_vec(),
            None => Bug::ALL.into_iter().flat_map(faults).copied().collect(),
        }
    }

    /// A bug may need a store; that a build is clean is shown with one.
    #[must_use]
    pub fn store(self) -> Option<StoreKind> {
        matches!(self.0, None | Some(Bug::LateWritesIgnored)).then_some(StoreKind::Seaweedfs)
    }

    /// How long the run injects them at most.
    #[must_use]
    pub fn minutes(self) -> f64 {
        match self.0 {
            Some(Bug::LastFileSkipped | Bug::CleanUpForgetsFile | Bug::LateWritesIgnored) => MINUTES_OF_FILES,
            Some(_) => MINUTES,
            None => CONTROL_MINUTES,
        }
    }
}

/// What a run of this name looks for.
///
/// # Errors
/// The names there are.
pub fn target(name: &str) -> Result<Target, String> {
    if name == NO_BUG { Ok(Target(None)) } else { bug(name).map(|bug| Target(Some(bug))) }
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
fn faults(bug: Bug) -> &'static [Nemesis] {
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
        Bug::LateWritesIgnored => &[Nemesis::StoreLateWrites, Nemesis::KillFollower],
        // Where a commit takes longer, more cancels meet a result on its way.
        Bug::LateResultAccepted => &[Nemesis::Delay, Nemesis::SlowSync],
        Bug::SettleForgetsSegment
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
    let caught = one(proof, name, name)?;
    eprintln!("prove: {name}: {}", caught.as_deref().unwrap_or("NOT CAUGHT"));
    Ok(Row { name, expected: caught.is_some(), caught })
}

/// The same build and the same checks without a bug, under all faults that any bug needs.
fn without_bug(proof: &Proof) -> Result<Row, Trouble> {
    eprintln!("prove: {NO_BUG}");
    let began = Instant::now();
    let caught = one(proof, NO_BUG, "")?;
    let clean = format!("nothing | {} s |", began.elapsed().as_secs());
    Ok(Row { name: NO_BUG, expected: caught.is_none(), caught: Some(caught.unwrap_or(clean)) })
}

/// Runs this program for one bug, or for none; what was caught, with paths as they are within the run.
fn one(proof: &Proof, name: &str, bug: &str) -> Result<Option<String>, Trouble> {
    let folder = proof.folder.join(name);
    std::fs::create_dir_all(&folder).during(|| text(&folder))?;
    let own = std::env::current_exe().during(|| "the path of this program".to_owned())?;
    let (run, log) = (text(&folder.join("run")), folder.join("log.txt"));
    let output = Command::new(own)
        .args([ONE, name, "--seed", &proof.seed.to_string(), "--dir", &run])
        .env(VARIABLE, bug)
        .stdin(Stdio::null())
        .stderr(File::create(&log).during(|| text(&log))?)
        .output()
        .during(|| "the run cannot be started".to_owned())?;
    match output.status.code() {
        Some(0 | 1) => {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(printed.lines().find_map(Catch::read).map(|caught| caught.replace(&format!("{run}/"), "")))
        }
        other => Err(Trouble(format!("a run was not possible (exit code {other:?}): see {}", log.display()))),
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name_and_has_a_fault_that_a_run_can_begin_with() {
        for planted in Bug::ALL {
            assert_eq!(bug(planted.name()), Ok(planted));
            // A companion alone goes on beside nothing and takes no node away, so it is enough only where it is the cause.
            let mains = faults(planted).iter().filter(|nemesis| !nemesis.is_companion()).count();
            let slows_only = [Bug::WallClockIsTime, Bug::LateResultAccepted].contains(&planted);
            assert!(mains > 0 || slows_only, "{}", planted.name());
        }
        let unknown = bug("no-such-bug").expect_err("there is none");
        assert!(unknown.contains("vote-not-synced, log-not-synced"), "{unknown}");
    }
}
