//! What holds for every sequence of commands: the rules that the machine is built on, tried on generated ones.

use crate::command::{Command, LeaseRef, TaskResult};
use crate::id::{JobId, SegmentId, WorkerId};
use crate::key::Key;
use crate::outcome::{Outcome, Rejection};
use crate::plan::{Connected, Policy};
use crate::row::{Cluster, Job, Row};
use crate::tables::{Memory, Read};
use crate::testing::{ID_START, Step, next_revision, resolve, steps};
use crate::time::{Stamp, Time};
use crate::{apply, check, plan, read, view};
use expect_test::expect_file;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

fn bootstrapped() -> Memory {
    let mut rows = Memory::default();
    let command = Command::Bootstrap { cluster_id: 9, id_start: ID_START };
    apply(&mut rows, &command, Stamp::default(), 1).expect("the first command bootstraps");
    rows
}

fn step(rows: &mut Memory, step: &Step) -> (Command, Result<Outcome, Rejection>) {
    let (command, now) = resolve(step, rows);
    let revision = next_revision(rows);
    let answer = apply(rows, &command, now, revision);
    (command, answer)
}

/// All rows but the clock.
fn without_clock(rows: &Memory) -> BTreeMap<Key, Row> {
    let timeless = |row: &Row| match row {
        Row::Cluster(cluster) => Row::Cluster(Cluster { now: Time(0), ..cluster.clone() }),
        row => row.clone(),
    };
    rows.rows().map(|(key, row)| (key.clone(), timeless(row))).collect()
}

fn jobs(rows: &Memory) -> Vec<Job> {
    let rows = rows.rows().map(|(_, row)| row.clone());
    rows.filter_map(|row| if let Row::Job(job) = row { Some(*job) } else { None }).collect()
}

fn published(rows: &Memory) -> Vec<Key> {
    let flushed = |row: &Row| matches!(row, Row::Targets(targets) if targets.published.is_some());
    rows.rows().filter(|(_, row)| flushed(row)).map(|(key, _)| key.clone()).collect()
}

/// The properties below are worth what the steps reach: every command must be applied, and every rejection happen.
#[test]
fn generated_steps_reach_every_command_and_every_state() {
    let mut runner = TestRunner::deterministic();
    let strategy = steps(180);
    let mut reached = BTreeSet::new();
    for _ in 0..1_000 {
        let sequence = strategy.new_tree(&mut runner).expect("a sequence is generated").current();
        let mut rows = bootstrapped();
        for one in &sequence {
            let (command, answer) = step(&mut rows, one);
            let answer = answer.map_or_else(|rejection| word(&rejection), |outcome| word(&outcome));
            reached.insert(format!("{} -> {answer}", word(&command)));
            for job in jobs(&rows) {
                let clean_up = view::status(&job).map(|status| status.clean_up);
                reached.insert(format!("{} {} {clean_up:?}", word(&job.state), word(&job.settle)));
            }
        }
    }
    let reached: Vec<_> = reached.into_iter().collect();
    expect_file!["properties.reached.txt"].assert_eq(&(reached.join("\n") + "\n"));
}

/// The name of a variant.
fn word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rule 1: every command on every reachable state answers, and leaves rows that agree with each other.
    #[test]
    fn every_command_answers_and_leaves_rows_that_agree(steps in steps(180)) {
        let mut rows = bootstrapped();
        for one in &steps {
            let (command, answer) = step(&mut rows, one);
            let violations = check(&rows);
            prop_assert!(violations.is_empty(), "{command:?} -> {answer:?}: {violations:#?}");
        }
    }

    /// Rule 2: a rejected command leaves no trace but the clock.
    #[test]
    fn a_rejected_command_leaves_no_trace_but_the_clock(steps in steps(180)) {
        let mut rows = bootstrapped();
        for one in &steps {
            let before = without_clock(&rows);
            let (command, answer) = step(&mut rows, one);
            if answer.is_err() {
                prop_assert_eq!(&before, &without_clock(&rows), "{:?}", command);
            }
        }
    }

    /// Rule 3: the same commands make the same rows and the same answers.
    #[test]
    fn the_same_commands_make_the_same_rows(steps in steps(180)) {
        let (mut rows, mut log) = (bootstrapped(), Vec::new());
        for one in &steps {
            let (command, now) = resolve(one, &rows);
            let revision = next_revision(&rows);
            let answer = apply(&mut rows, &command, now, revision);
            log.push((command, now, revision, answer));
        }
        let mut replica = bootstrapped();
        for (command, now, revision, answer) in &log {
            prop_assert_eq!(answer, &apply(&mut replica, command, *now, *revision));
        }
        prop_assert_eq!(&rows, &replica);
    }

    /// A terminal job never changes its state again, cluster time and ids never go back, a published segment stays.
    #[test]
    fn what_is_final_stays(steps in steps(180)) {
        let mut rows = bootstrapped();
        let mut ends = BTreeMap::new();
        for one in &steps {
            let (before, flushed) = (read::cluster(&rows), published(&rows));
            let _ = step(&mut rows, one);
            let (before, after) = (before.expect("bootstrapped"), read::cluster(&rows).expect("bootstrapped"));
            prop_assert!(before.now <= after.now && before.next_id <= after.next_id && before.pass <= after.pass);
            let (was, is) = (before.events, after.events);
            prop_assert!(was.first <= is.first && was.last <= is.last && was.delivered <= is.delivered);
            let now_flushed = published(&rows);
            prop_assert!(flushed.iter().all(|key| now_flushed.contains(key)));
            for job in view::list_jobs(&rows, JobId(0), 1_000).items {
                let ended = view::state(&job).filter(|state| state.terminal());
                if let Some(first) = ends.get(&job.id) {
                    prop_assert_eq!(Some(first), ended.as_ref(), "the first terminal state is final");
                }
                ends.extend(ended.map(|state| (job.id, state)));
            }
        }
    }

    /// Progress in segments and bytes never decreases while a job can be seen.
    #[test]
    fn progress_never_decreases(steps in steps(180)) {
        let mut rows = bootstrapped();
        let mut seen = BTreeMap::new();
        for one in &steps {
            let _ = step(&mut rows, one);
            for job in view::list_jobs(&rows, JobId(0), 1_000).items {
                let progress = (job.counts.segments_copied, job.counts.bytes_copied);
                let before = seen.insert(job.id, progress).unwrap_or_default();
                prop_assert!(before.0 <= progress.0 && before.1 <= progress.1, "{before:?} then {progress:?}");
            }
        }
    }

    /// Whatever happened, a leader's plan is applied without a rejection, and ends with nothing left to propose: every
    /// job ends, and everything but published segments and workers is collected.
    #[test]
    fn a_leader_brings_every_job_to_its_end(steps in steps(180)) {
        let mut rows = bootstrapped();
        for one in &steps {
            let _ = step(&mut rows, one);
        }
        let mut now = read::cluster(&rows).expect("bootstrapped").now;
        for _ in 0..200 {
            end_all(&mut rows, now);
            let Some(next) = lead(&mut rows, now)? else { break };
            prop_assert!(check(&rows).is_empty());
            now = next;
        }
        let tasks_and_jobs = Key::Job(JobId(0))..Key::Targets(SegmentId(0));
        let left = rows.scan(Bound::Included(tasks_and_jobs.start), &tasks_and_jobs.end, 10);
        prop_assert!(left.is_empty(), "{left:#?}");
    }
}

/// Loses every worker and cancels every job that lives: without a deadline or a worker, only its user can end it.
fn end_all(rows: &mut Memory, now: Time) {
    let now = Stamp { at: now, wall_ms: 0 };
    for worker in view::list_workers(rows, WorkerId(0), 100).items {
        let (worker, incarnation) = (worker.id, worker.incarnation);
        let lose =
            Command::LoseWorker { worker, incarnation, writes_for_ms: 1, late_writes_ms: 5, settled: BTreeMap::new() };
        let revision = next_revision(rows);
        apply(rows, &lose, now, revision).expect("a known worker can be lost");
    }
    for job in view::list_jobs(rows, JobId(0), 100).items {
        if view::state(&job).is_some_and(|state| !state.terminal()) {
            let revision = next_revision(rows);
            apply(rows, &Command::CancelJob { job: job.id }, now, revision).expect("a job that lives can be canceled");
        }
    }
}

/// One step of a leader with one worker that cleans up whatever it gets; answers when the next one is due.
fn lead(rows: &mut Memory, now: Time) -> Result<Option<Time>, TestCaseError> {
    let register = Command::RegisterWorker {
        name: "the-last-worker".to_owned(),
        incarnation: now.0,
        slots: 3,
        labels: BTreeMap::new(),
        writes_for_ms: 1,
        late_writes_ms: 5,
        settled: BTreeMap::new(),
    };
    let stamp = Stamp { at: now, wall_ms: 0 };
    let revision = next_revision(rows);
    let Ok(Outcome::Worker(worker)) = apply(rows, &register, stamp, revision) else {
        return Err(TestCaseError::fail("the worker cannot register"));
    };
    let planned = plan(rows, now, &Policy::default(), &[Connected { worker, incarnation: now.0, slots_free: 3 }]);
    let result = TaskResult::CleanedUp;
    let reports = |lease: &LeaseRef| Command::ReportTask { lease: *lease, result: result.clone(), writes_for_ms: 0 };
    let attempts = planned.assignments.iter().flat_map(|lease| [Command::AssignTask(*lease), reports(lease)]);
    for command in planned.commands.iter().cloned().chain(attempts) {
        let revision = next_revision(rows);
        let answer = apply(rows, &command, stamp, revision);
        prop_assert!(answer.is_ok(), "{command:?} -> {answer:?}");
    }
    if planned.commands.is_empty() && planned.assignments.is_empty() {
        return Ok(planned.next_due.map(|due| due.max(now).plus(1)));
    }
    Ok(Some(now.plus(1)))
}
