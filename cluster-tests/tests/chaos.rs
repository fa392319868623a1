//! A short run of the chaos suite, with the faults that a cluster meets most and those that cost it most; longer runs are
//! `scripts/chaos`.

use cluster_tests::faults::privileges;
use std::process::Command;

/// What every run needs, whichever faults it has.
const TOOLS: &[&str] = &["unshare", "nsenter", "ip", "mount", "mkfs.ext4", "cc"];
/// One of each family. `FERRY_LEAVE_OUT` takes out those that a machine cannot make, and `chaos` the whole run.
const SELECTION: &str = "kill-leader,kill-all,pause-leader,partition-leader,partition-one-way,partition-clients,loss,\
    reorder,slow-sync,failing-sync,disk-full,power-loss-all,clock-jump,wipe,checkpoint-install,pause-worker,transfer";
/// Of the faults; the whole run takes about a minute longer.
const MINUTES: &str = "2.5";

#[test]
fn a_cluster_under_faults_of_every_family_answers_nothing_that_contradicts_itself() {
    if !privileges::may("chaos", TOOLS) {
        return;
    }
    let arguments = ["--minutes", MINUTES, "--seed", "1", "--nemesis", SELECTION];
    let status = Command::new(env!("CARGO_BIN_EXE_chaos")).args(arguments).status().expect("the suite can be started");
    assert!(status.success(), "the run says above what was wrong, and where its logs are");
}

#[test]
fn every_fault_of_the_short_run_exists() {
    let listed = Command::new(env!("CARGO_BIN_EXE_chaos")).arg("--list").output().expect("the suite can be started");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in SELECTION.split(',') {
        assert!(listed.lines().any(|line| line == name), "{name} is not among:\n{listed}");
    }
}
