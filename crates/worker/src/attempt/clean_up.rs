//! An attempt that cleans up: it deletes exactly the target keys that the task's plan gives, never by prefix, and looks
//! until none of them is left. What the task never claimed was there before the job and is not touched.

use super::{ATTEMPTS_FOLDER, Key, Runner};
use super::{publish, uploads};
use crate::bandwidth::Turns;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::Place;
use crate::plan::Plan;
use crate::retry::with_retries;
use crate::writes::Writes;
use ferry_objects::{Folder, FolderError, blocking};
use ferry_planted::Bug;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, CleanedUp};
use futures::{StreamExt, TryStreamExt};

/// A store may show a deleted object for a while; after so many looks a later attempt goes on.
const ROUNDS_MAX: usize = 10;

pub(super) async fn run(
    runner: &Runner,
    assign: &Assign,
    turns: Turns,
    key: Key,
    permit: &Permit,
    writes: &Writes,
) -> Result<Outcome, Fault> {
    if !assign.claimed {
        tracing::info!(task = key.task_id, "nothing to clean up: the task never claimed its targets");
        return Ok(Outcome::CleanedUp(CleanedUp {}));
    }
    if assign.id_mappings.is_empty() {
        // The publication's one key follows from the assignment alone: the source is not needed.
        let target = publish::target(runner, assign)?.counted_in(writes).paced_by(turns);
        return clean_keys_up(runner, &target, &[&publish::metadata_key(assign)], key, permit).await;
    }
    let plan = permit.unless_ended(Plan::of(assign, &runner.snapshots, runner.request_timeout)).await?;
    let plan = plan.map_err(underivable)?;
    for shared in plan.shared_target_keys() {
        tracing::warn!(object = %plan.target.uri(shared), "left over: other segments may share it");
    }
    let mut keys: Vec<&str> = plan.own_target_keys().collect();
    if ferry_planted::is(Bug::CleanUpForgetsFile) {
        keys.reverse();
        keys.pop();
    }
    let target = plan.target.clone().counted_in(writes).paced_by(turns);
    clean_keys_up(runner, &target, &keys, key, permit).await
}

async fn clean_keys_up(
    runner: &Runner,
    target: &Place,
    keys: &[&str],
    key: Key,
    permit: &Permit,
) -> Result<Outcome, Fault> {
    delete_all(target, keys.to_vec(), permit, runner.files_at_once).await?;
    uploads::abort(target, keys.to_vec(), permit, runner.files_at_once).await?;
    remove_temporary_files(target, key.task_id, u32::MAX).await?;
    remove_empty_folders(target, keys).await?;
    Ok(Outcome::CleanedUp(CleanedUp {}))
}

/// Without the source as it was at the claim nobody knows which objects are the task's: from a changed manifest would
/// follow keys that it never wrote, and not those that it did. The cluster gives up after enough attempts.
fn underivable(fault: Fault) -> Fault {
    match fault {
        Fault::Permanent(reason) => Fault::Transient(format!(
            "the clean-up cannot derive the target objects from the source: {reason}; restore the source, or delete them by hand"
        )),
        fault => fault,
    }
}

async fn delete_all(target: &Place, mut keys: Vec<&str>, permit: &Permit, at_once: usize) -> Result<(), Fault> {
    for _ in 0..ROUNDS_MAX {
        keys = present(target, keys, permit, at_once).await?;
        if keys.is_empty() {
            return Ok(());
        }
        let deletes: Vec<_> = keys.iter().map(|key| delete(target, key, permit)).collect();
        futures::stream::iter(deletes).buffer_unordered(at_once).try_collect::<()>().await?;
    }
    let uri = keys.first().map(|key| target.uri(key)).unwrap_or_default();
    Err(Fault::Transient(format!("target object {uri} is still there after it was deleted; see what writes it")))
}

async fn delete(target: &Place, key: &str, permit: &Permit) -> Result<(), Fault> {
    with_retries(permit, || target.delete(key)).await
}

/// Those of the keys that have an object.
async fn present<'a>(
    target: &Place,
    keys: Vec<&'a str>,
    permit: &Permit,
    at_once: usize,
) -> Result<Vec<&'a str>, Fault> {
    let found = target.heads(&keys, permit, at_once).await?;
    Ok(keys.into_iter().zip(found).filter_map(|(key, found)| found.map(|_| key)).collect())
}

/// Removes the temporary files of the task's attempts up to `attempt_max`, and their folders.
pub(super) async fn remove_temporary_files(target: &Place, task_id: i64, attempt_max: u32) -> Result<(), Fault> {
    let Some(folder) = target.folder().cloned() else { return Ok(()) };
    let removed = blocking(move || remove_attempts(&folder, task_id, attempt_max)).await;
    removed.map_err(|error| Fault::of_folder(&error, Side::Target))
}

fn remove_attempts(folder: &Folder, task_id: i64, attempt_max: u32) -> Result<(), FolderError> {
    for name in folder.names(ATTEMPTS_FOLDER)? {
        if !is_attempt_of(&name, task_id, attempt_max) {
            continue;
        }
        let attempt_folder = format!("{ATTEMPTS_FOLDER}/{name}");
        for file in folder.names(&attempt_folder)? {
            folder.delete(&format!("{attempt_folder}/{file}"))?;
        }
        folder.remove_empty_parents(&format!("{attempt_folder}/_"))?;
    }
    Ok(())
}

fn is_attempt_of(name: &str, task_id: i64, attempt_max: u32) -> bool {
    let parsed = name.rsplit_once('-').and_then(|(task, attempt)| Some((task.parse().ok()?, attempt.parse().ok()?)));
    parsed.is_some_and(|(task, attempt): (i64, u32)| task == task_id && attempt <= attempt_max)
}

/// A file system keeps folders that nothing is in; they were made for the copies.
async fn remove_empty_folders(target: &Place, keys: &[&str]) -> Result<(), Fault> {
    let Some(folder) = target.folder().cloned() else { return Ok(()) };
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let removed = blocking(move || keys.iter().try_for_each(|key| folder.remove_empty_parents(key))).await;
    removed.map_err(|error| Fault::of_folder(&error, Side::Target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_attempts_of_the_task_are_its_own() {
        assert!(is_attempt_of("7-1", 7, 2));
        assert!(is_attempt_of("7-2", 7, 2));
        for other in ["7-3", "70-1", "17-1", "7", "7-x", "-7-1", ""] {
            assert!(!is_attempt_of(other, 7, 2), "{other}");
        }
    }
}
