//! An attempt that copies: plan, look, claim, copy, write the manifests of the copies, make durable, report.

use super::{Key, Reports, Runner, clean_up, temporary_folder, uploads};
use crate::bandwidth::Limits;
use crate::copy::{Copier, PART_BYTES_MIN, Waiting, small, write};
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::Place;
use crate::plan::{Measured, Plan};
use ferry_objects::blocking;
use ferry_planted::Bug;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, Copied, VerifyMode};
use ferry_snapshot::SnapshotFile;
use futures::StreamExt;
use std::sync::Arc;

pub(super) async fn run(
    runner: &Runner,
    assign: &Assign,
    limits: Limits,
    permit: Permit,
    mut reports: Reports,
) -> Result<Outcome, Fault> {
    let plan = permit.unless_ended(Plan::of(assign, &runner.snapshots, runner.request_timeout)).await??;
    let plan = plan.paced_by(&limits.turns(&permit));
    let mut measured = permit.unless_ended(plan.measure(&permit, runner.files_at_once)).await??;
    if !assign.claimed {
        check_free(&plan, &permit, runner.files_at_once).await?;
        reports.claim(measured.total_bytes(), plan.manifests(), &permit).await?;
    }
    if ferry_planted::is(Bug::LastFileSkipped) {
        measured.files.pop();
    }
    let key = reports.key;
    let manifests: Vec<SnapshotFile> = plan.snapshot_files().cloned().collect();
    let (source, target) = (plan.source, plan.target.counted_in(&reports.writes));
    if assign.claimed {
        remove_temporary_files(&target, key).await?;
        let large = measured.files.iter().filter(|file| file.source.size_bytes > PART_BYTES_MIN && !file.shared);
        let written = manifests.iter().filter(|file| file.content.len() as u64 > PART_BYTES_MIN);
        let written = written.map(|file| file.target_key.as_str());
        let keys = large.map(|file| file.target_key.as_str()).chain(written).collect();
        uploads::abort_before_retry(&target, keys, &permit, runner.files_at_once).await?;
    }
    let copier = Copier {
        permit: permit.clone(),
        limits,
        budget: runner.budget.clone(),
        meter: Arc::clone(&reports.meter),
        read_back: runner.read_back || assign.verify() == VerifyMode::Full,
        temporary_folder: temporary_folder(key),
        waiting: waiting(runner, &target, key).await?,
        unseen: Some(Arc::default()),
        source,
        target,
    };
    let waiting = copier.waiting.clone();
    let written = write_content(copier, &measured, &manifests, key, assign.claimed, runner.files_at_once).await;
    if let (Some(waiting), true) = (&waiting, written.is_err()) {
        waiting.give_up().await;
    }
    let target = written?;
    let keys = measured.files.iter().map(|file| file.target_key.clone());
    let keys = keys.chain(manifests.iter().map(|file| file.target_key.clone())).collect();
    make_durable(&target, keys, key, waiting.as_ref(), &permit).await?;
    Ok(Outcome::Copied(Copied { segments: measured.segments }))
}

/// Where small files wait for one sync of all; opened before the first write, so that every failure to write is told.
async fn waiting(runner: &Runner, target: &Place, key: Key) -> Result<Option<Arc<Waiting>>, Fault> {
    let Some(folder) = target.folder().cloned() else { return Ok(None) };
    let disks = runner.disks.clone();
    let opened = blocking(move || {
        let disk = disks.open(&folder, &temporary_folder(key))?;
        Ok(disk.map(|disk| Arc::new(Waiting::new(folder, disk))))
    });
    opened.await.map_err(|error| Fault::of_folder(&error, Side::Target))
}

/// Copies every file and writes what of the copy's own snapshot belongs to the task; all of it is in place then.
async fn write_content(
    copier: Copier,
    measured: &Measured,
    manifests: &[SnapshotFile],
    key: Key,
    claimed: bool,
    at_once: usize,
) -> Result<Place, Fault> {
    let (waiting, permit) = (copier.waiting.clone(), copier.permit.clone());
    let (target, copied) = copy_all(copier, measured, claimed, at_once).await;
    copied?;
    write_all(&target, key, manifests, waiting.as_ref(), &permit, at_once).await?;
    if let Some(waiting) = waiting {
        waiting.flush(&permit).await?;
    }
    Ok(target)
}

/// The first attempt writes only where nothing is. Shared objects are looked at when they are copied.
async fn check_free(plan: &Plan, permit: &Permit, at_once: usize) -> Result<(), Fault> {
    let target = &plan.target;
    let keys: Vec<&str> = plan.own_target_keys().collect();
    let found = target.looks(&keys, permit, at_once).await?;
    match keys.iter().zip(found).find(|(_, found)| found.is_some()) {
        Some((key, _)) => Err(target_exists(target, key)),
        None => Ok(()),
    }
}

/// What is there was there before the job.
pub(super) fn target_exists(target: &Place, key: &str) -> Fault {
    let uri = target.uri(key);
    Fault::Permanent(format!(
        "target object {uri} exists already; nothing was written: choose another target, or move it away"
    ))
}

/// Copies every file; the first failure stops the others, and all of them have ended when this returns.
async fn copy_all(copier: Copier, measured: &Measured, claimed: bool, at_once: usize) -> (Place, Result<(), Fault>) {
    let (permit, stop) = copier.permit.child();
    let copier = Copier { permit, ..copier };
    let runs = copier.runs(&measured.files, claimed);
    let copies: Vec<_> = runs.into_iter().map(|run| copier.copy_run(run, claimed)).collect();
    let mut copies = futures::stream::iter(copies).buffer_unordered(at_once);
    let mut result = Ok(());
    while let Some(copied) = copies.next().await {
        // What the stop below ends says only that it was stopped.
        if let (Err(fault), Ok(()) | Err(Fault::Stopped)) = (copied, &result) {
            stop.cancel();
            result = Err(fault);
        }
    }
    drop(copies);
    if result.is_ok() {
        result = copier.look_at_unseen(at_once).await;
    }
    (copier.target, result)
}

async fn write_all(
    target: &Place,
    key: Key,
    files: &[SnapshotFile],
    waiting: Option<&Arc<Waiting>>,
    permit: &Permit,
    at_once: usize,
) -> Result<(), Fault> {
    let folder = &temporary_folder(key);
    let is_small = |file: &SnapshotFile| file.content.len() as u64 <= small::FILE_BYTES_MAX;
    let at_a_time = if target.folder().is_some() && files.iter().all(is_small) { small::run_max(waiting) } else { 1 };
    let writes: Vec<_> = files.chunks(at_a_time).map(|run| write_run(target, folder, run, waiting, permit)).collect();
    // All of them have ended when this returns, so the first failure drops none.
    let written: Vec<Result<(), Fault>> = futures::stream::iter(writes).buffer_unordered(at_once).collect().await;
    written.into_iter().collect()
}

async fn write_run(
    target: &Place,
    folder: &str,
    run: &[SnapshotFile],
    waiting: Option<&Arc<Waiting>>,
    permit: &Permit,
) -> Result<(), Fault> {
    let written = match (run, waiting) {
        ([_], None) => vec![false],
        _ => small::write(target, folder, run, waiting, permit).await?,
    };
    for (file, _) in run.iter().zip(written).filter(|(_, written)| !written) {
        write(target, folder, &file.target_key, file.content.clone(), permit).await?;
    }
    Ok(())
}

/// On a local file system a new name lasts only when its folders are synced, or all of it is; stores do it themselves. The
/// attempt's own folder is of no more use then.
pub(super) async fn make_durable(
    target: &Place,
    keys: Vec<String>,
    key: Key,
    waiting: Option<&Arc<Waiting>>,
    permit: &Permit,
) -> Result<(), Fault> {
    permit.check()?;
    let Some(folder) = target.folder().cloned() else { return Ok(()) };
    let is_synced = match waiting.filter(|waiting| !waiting.is_spared()) {
        // What it tells may be the trouble of others: the folders themselves are asked then.
        Some(waiting) => waiting.sync_names().await.is_ok(),
        None => false,
    };
    let synced = blocking(move || {
        if !is_synced {
            folder.sync_folders(keys.iter().map(String::as_str))?;
        }
        folder.remove_empty_parents(&format!("{}/_", temporary_folder(key)))
    });
    synced.await.map_err(|error| Fault::of_folder(&error, Side::Target))
}

/// Removes what earlier attempts of the task have left unfinished. Before the claim nothing was written.
pub(super) async fn remove_temporary_files(target: &Place, key: Key) -> Result<(), Fault> {
    clean_up::remove_temporary_files(target, key.task_id, key.attempt).await
}
