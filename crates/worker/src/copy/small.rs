//! Small files of a local target, a run of them in one piece of work: handing each over to another thread costs several
//! times what copying it does. All are written under temporary names, then synced, then renamed; like any other file, none
//! is in place before it is durable and verified. Where their file system is synced as a whole, they wait for that.
//!
//! Whatever goes wrong with a file here only leaves it out: the way for single files repeats it, and tells what is wrong.

use super::temporary::TemporaryFile;
use super::waiting::Waiting;
use super::{Copier, FileCopy, FileMeter};
use crate::failure::Fault;
use crate::permit::Permit;
use crate::place::{Place, meta_of_file};
use ferry_objects::{Checksum, Folder, Walk, blocking};
use ferry_snapshot::SnapshotFile;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Files of one run that are synced alone: each has a descriptor open until the run is synced.
const RUN_FILES_MAX: usize = 16;
/// The same of files that wait for a sync of all: none is open any longer.
const RUN_WAITING_MAX: usize = 128;
/// The largest of them: what a run moves between two looks at its permit stays far below a chunk.
pub(crate) const FILE_BYTES_MAX: u64 = 128 << 10;

/// How many files go in one run.
pub(crate) fn run_max(waiting: Option<&Arc<Waiting>>) -> usize {
    match waiting {
        Some(waiting) if waiting.takes(FILE_BYTES_MAX) => RUN_WAITING_MAX,
        Some(_) | None => RUN_FILES_MAX,
    }
}

/// Copies a run of local files; tells of each whether it was.
pub(super) async fn copy(copier: &Copier, files: &[&FileCopy]) -> Result<Vec<bool>, Fault> {
    let (Some(source), Some(target)) = (copier.source.folder().cloned(), copier.target.folder().cloned()) else {
        debug_assert!(false, "a run of small files needs two local folders");
        return Ok(vec![false; files.len()]);
    };
    let run: Vec<FileCopy> = files.iter().map(|file| (*file).clone()).collect();
    let (permit, temporary_folder) = (copier.permit.clone(), copier.temporary_folder.clone());
    let waiting = copier.waiting.clone().filter(|waiting| waiting.takes(FILE_BYTES_MAX));
    let copied = blocking(move || {
        let (mut sources, mut temporary) = (source.walk(), target.walk());
        let mut copy = |file: &FileCopy| {
            permit.check()?;
            unless_stopped(copy_content(&mut sources, &mut temporary, &target, &temporary_folder, file))
        };
        let keys = run.iter().map(|file| (file.target_key.as_str(), file.checksum));
        if let Some(waiting) = waiting {
            let written = keys.zip(&run).map(|(key, file)| wait(&waiting, key, copy(file)?, &permit));
            return written.collect();
        }
        let written: Result<Vec<_>, Fault> = run.iter().map(copy).collect();
        finish(&target, keys, written?, &permit)
    });
    let copied = copied.await?;
    for (file, _) in files.iter().zip(&copied).filter(|(_, copied)| **copied) {
        let meter = FileMeter { meter: &copier.meter, reached: AtomicU64::new(0) };
        meter.at(file.source.size_bytes, file.source.size_bytes);
    }
    Ok(copied)
}

/// Writes a run of files whose content is at hand; tells of each whether it was.
pub(crate) async fn write(
    target: &Place,
    temporary_folder: &str,
    files: &[SnapshotFile],
    waiting: Option<&Arc<Waiting>>,
    permit: &Permit,
) -> Result<Vec<bool>, Fault> {
    let waiting = waiting.cloned().filter(|waiting| waiting.takes(FILE_BYTES_MAX));
    let Some(target) = target.folder().cloned() else { return Ok(vec![false; files.len()]) };
    let run = files.to_vec();
    let (permit, temporary_folder) = (permit.clone(), temporary_folder.to_owned());
    blocking(move || {
        let mut temporary = target.walk();
        let mut write = |file: &SnapshotFile| {
            permit.check()?;
            let written = TemporaryFile::create_by(&mut temporary, &target, &temporary_folder);
            let written = written.and_then(|written| written.write_at(&file.content, 0).map(|()| written));
            unless_stopped(written)
        };
        if let Some(waiting) = waiting {
            let written = run.iter().map(|file| wait(&waiting, (&file.target_key, None), write(file)?, &permit));
            return written.collect();
        }
        let written: Result<Vec<_>, Fault> = run.iter().map(write).collect();
        finish(&target, run.iter().map(|file| (file.target_key.as_str(), None)), written?, &permit)
    })
    .await
}

fn copy_content(
    sources: &mut Walk<'_>,
    temporary: &mut Walk<'_>,
    target: &Arc<Folder>,
    temporary_folder: &str,
    file: &FileCopy,
) -> Result<TemporaryFile, Fault> {
    let again = |reason: String| Fault::Transient(reason);
    let source = sources.open(&file.source_key).map_err(|error| again(error.to_string()))?;
    let copy = TemporaryFile::create_by(temporary, target, temporary_folder)?;
    let size_bytes = file.source.size_bytes;
    let mut copied = 0;
    while copied < size_bytes {
        match copy.copy_from(&source, copied, size_bytes - copied, |error| again(error.to_string()))? {
            0 => return Err(again("the source is shorter than it was".into())),
            more => copied += more,
        }
    }
    match meta_of_file(&source) {
        Ok(meta) if meta == file.source => Ok(copy),
        Ok(_) => Err(again("the source was written to".into())),
        Err(error) => Err(again(error.to_string())),
    }
}

/// Has a file wait, verified; tells whether there is one. A failure to place what waited before is no one file's.
fn wait(
    waiting: &Waiting,
    (key, checksum): (&str, Option<Checksum>),
    file: Option<TemporaryFile>,
    permit: &Permit,
) -> Result<bool, Fault> {
    let verified = |file: TemporaryFile| {
        check(&file, key, checksum, permit)?;
        Ok((file.size_bytes()?, file.close()))
    };
    let Some((size_bytes, name)) = file.map(verified).map(unless_stopped).transpose()?.flatten() else {
        return Ok(false);
    };
    waiting.add(name, key, size_bytes, permit)?;
    Ok(true)
}

fn check(file: &TemporaryFile, key: &str, checksum: Option<Checksum>, permit: &Permit) -> Result<(), Fault> {
    match checksum {
        Some(expected) if file.checksum(permit)? != expected => {
            Err(Fault::Transient(format!("{key} is not what its checksum says")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Syncs all, verifies those whose checksum is known, and puts them in place.
fn finish<'a>(
    target: &Arc<Folder>,
    keys: impl Iterator<Item = (&'a str, Option<Checksum>)>,
    written: Vec<Option<TemporaryFile>>,
    permit: &Permit,
) -> Result<Vec<bool>, Fault> {
    let mut synced = Vec::with_capacity(written.len());
    for file in written {
        permit.check()?;
        let sync = |file: TemporaryFile| file.sync().map(|()| file);
        synced.push(file.map(sync).map(unless_stopped).transpose()?.flatten());
    }
    let mut walk = target.walk();
    let mut done = Vec::with_capacity(synced.len());
    for ((key, checksum), file) in keys.zip(synced) {
        let placed = file.map(|file| {
            check(&file, key, checksum, permit)?;
            file.place_by(&mut walk, key, permit)
        });
        done.push(placed.map(unless_stopped).transpose()?.flatten().is_some());
    }
    Ok(done)
}

/// What a single file's own way will repeat is nothing here; a stop is a stop.
fn unless_stopped<T>(done: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Fault::Stopped) => Err(Fault::Stopped),
        Err(fault) => {
            tracing::debug!(%fault, "a small file is taken alone");
            Ok(None)
        }
    }
}
