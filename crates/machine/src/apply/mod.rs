//! Applies one command to the tables: total and deterministic, all of it or nothing but the clock.
//!
//! Each command works at a `keep::Desk`, whose changes reach the tables only when the command succeeded. Every
//! transition names the state it expects, so a late or repeated command is rejected or answered as before.

mod attempt;
mod collect;
mod control;
mod events;
mod history;
mod ids;
mod keep;
mod overlay;
mod report;
mod settle;
mod submit;
mod tasks;
mod validate;
mod verification;
mod workers;

use crate::command::Command;
use crate::id::TaskId;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::row::Cluster;
use crate::tables::Tables;
use crate::time::Stamp;
use keep::Desk;
use overlay::Overlay;
use std::collections::BTreeMap;
pub(crate) use submit::refused_target;
pub(crate) use tasks::stride;

/// Applies a command of the entry at `revision`, the log index, at a moment of cluster time; an earlier moment than the
/// last command's counts as that one, and so does an earlier revision than the last event's.
pub fn apply(tables: &mut impl Tables, command: &Command, now: Stamp, revision: u64) -> Result<Outcome, Rejection> {
    let Some(cluster) = read::cluster(tables) else { return ids::first_command(tables, command, now) };
    let now = Stamp { at: now.at.max(cluster.now), wall_ms: now.wall_ms };
    let cluster = Cluster { now: now.at, ..cluster };
    let revision = revision.max(cluster.events.last.revision);
    let mut desk = Desk { rows: Overlay::new(tables), cluster: cluster.clone(), now, revision };
    let decision = decide(&mut desk, command);
    match decision {
        Ok(outcome) => {
            desk.commit();
            Ok(outcome)
        }
        Err(rejection) => {
            keep::put_clock(tables, cluster);
            Err(rejection)
        }
    }
}

fn decide(desk: &mut Desk<'_>, command: &Command) -> Result<Outcome, Rejection> {
    match command {
        Command::Bootstrap { .. } => Ok(Outcome::Bootstrapped { cluster_id: desk.cluster.cluster_id }),
        Command::Tick => Ok(Outcome::Done),
        Command::SubmitPage(page) => submit::page(desk, page),
        Command::DropDraft { job } => submit::drop_draft(desk, *job),
        Command::CreateTasks { job, tasks_created } => tasks::create(desk, *job, *tasks_created),
        Command::AssignTask(lease) => tasks::assign(desk, *lease),
        Command::ClaimTargets { lease, bytes_planned, manifests } => {
            tasks::claim(desk, *lease, *bytes_planned, manifests)
        }
        Command::ReportProgress { lease, bytes_copied } => tasks::progress(desk, *lease, *bytes_copied),
        Command::ReportTask { lease, result, writes_for_ms } => report::report(desk, *lease, result, *writes_for_ms),
        Command::ReleaseTask { lease, writes_for_ms } => report::release(desk, *lease, *writes_for_ms),
        Command::RegisterWorker { name, incarnation, slots, labels, writes_for_ms, late_writes_ms, settled } => {
            let registration = workers::Registration { name, incarnation: *incarnation, slots: *slots, labels };
            workers::register(desk, &registration, &wait(*writes_for_ms, *late_writes_ms, settled))
        }
        Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled } => {
            workers::lose(desk, *worker, *incarnation, &wait(*writes_for_ms, *late_writes_ms, settled))
        }
        Command::ReleaseWorker { worker, writes_for_ms, late_writes_ms } => {
            // Which of these had settled nobody remembers.
            workers::release(desk, *worker, &wait(*writes_for_ms, *late_writes_ms, &BTreeMap::new()))
        }
        Command::DrainWorker { worker, draining } => workers::drain(desk, *worker, *draining),
        Command::CancelJob { job } => control::cancel(desk, *job),
        Command::CleanUpJob { job } => control::clean_up(desk, *job),
        Command::FailJob { job, reason } => control::fail(desk, *job, reason),
        Command::PauseJob { job, paused } => control::pause(desk, *job, *paused),
        Command::UpdateJob { job, change } => control::update(desk, *job, *change),
        Command::SettleJob { job, settle } => settle::settle(desk, *job, *settle),
        Command::CollectJob { job } => collect::collect(desk, *job),
        Command::ExpireRequests { request_ids } => collect::expire_requests(desk, request_ids),
        Command::ExpireEvents { before } => events::expire(desk, *before),
        Command::NoteDelivered { before } => events::note_delivered(desk, *before),
        Command::ReserveIds { count } => ids::reserve(desk, *count),
    }
}

fn wait(writes_for_ms: u64, late_writes_ms: u64, settled: &BTreeMap<TaskId, u32>) -> workers::Wait<'_> {
    workers::Wait { writes_for_ms, late_writes_ms, settled }
}
