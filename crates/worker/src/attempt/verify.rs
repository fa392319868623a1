//! An attempt that only verifies: it looks at every object of the source and, where there is a copy, at every object of
//! that. It writes nothing, and takes nothing; what it finds is told of all objects, not of the first one alone.

use super::{Reports, Runner};
use crate::bandwidth::Limits;
use crate::copy::Meter;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::{Meta, Place, io_fault};
use crate::plan::{Plan, indexes, open_source};
use crate::retry::with_retries;
use ferry_objects::{Checksum, blocking};
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, CopiedSegment, Verified, VerifyMode};
use ferry_snapshot::{FilesError, SnapshotFile, SourceFile};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

/// How much of a local object is read at once.
const READ_BYTES_MAX: u64 = 1 << 20;
/// How long the text may get that names what differs; the rest is counted.
const NAMED_BYTES_MAX: usize = 1_600;

/// What is looked at.
struct Subject {
    source: Place,
    /// Where the copy is; `None`: the source alone is looked at.
    copy: Option<Place>,
    /// Each object of the source, with the key of its copy.
    files: Vec<(SourceFile, Option<String>)>,
    /// What belongs to the copy's own snapshot.
    written: Vec<SnapshotFile>,
    /// What each segment is reported as, and the places of its objects in `files`.
    segments: Vec<(CopiedSegment, Vec<usize>)>,
}

/// How it is looked.
struct Look<'a> {
    subject: &'a Subject,
    limits: &'a Limits,
    permit: &'a Permit,
    meter: &'a Meter,
    /// Whole objects are read.
    is_full: bool,
}

pub(super) async fn run(
    runner: &Runner,
    assign: &Assign,
    limits: &Limits,
    permit: &Permit,
    mut reports: Reports,
) -> Result<Outcome, Fault> {
    let subject = match assign.target {
        Some(_) => permit.unless_ended(of_copy(runner, assign)).await??,
        None => permit.unless_ended(of_source(runner, assign)).await??,
    };
    let turns = limits.turns(permit);
    let (source, copy) = (subject.source.paced_by(turns.clone()), subject.copy.map(|copy| copy.paced_by(turns)));
    let subject = Subject { source, copy, ..subject };
    let at_once = runner.files_at_once;
    let keys: Vec<&str> = subject.files.iter().map(|(file, _)| file.key.as_str()).collect();
    let sources = subject.source.heads(&keys, permit, at_once).await?;
    let size_of = |meta: &Option<Meta>| meta.as_ref().map_or(0, |meta| meta.size_bytes);
    reports.claim(sources.iter().map(size_of).sum(), Vec::new(), permit).await?;
    let meter = &*reports.meter;
    let is_full = runner.read_back || assign.verify() == VerifyMode::Full;
    let look = Look { subject: &subject, limits, permit, meter, is_full };
    let looks: Vec<_> =
        subject.files.iter().zip(&sources).map(|(file, source)| look.at(file, source.as_ref())).collect();
    let mut found: Vec<String> = futures::stream::iter(looks).buffered(at_once).try_concat().await?;
    let looks: Vec<_> = subject.written.iter().map(|file| look.at_written(file)).collect();
    found.extend(futures::stream::iter(looks).buffered(at_once).try_concat().await?);
    if !found.is_empty() {
        return Err(Fault::Permanent(told(&found, subject.files.len() + subject.written.len())));
    }
    let sizes: Vec<u64> = sources.iter().map(size_of).collect();
    let segment = |(segment, files): &(CopiedSegment, Vec<usize>)| CopiedSegment {
        size_bytes: files.iter().filter_map(|index| sizes.get(*index)).sum(),
        ..*segment
    };
    Ok(Outcome::Verified(Verified { segments: subject.segments.iter().map(segment).collect() }))
}

/// The objects of a copy as the copy would have written them.
async fn of_copy(runner: &Runner, assign: &Assign) -> Result<Subject, Fault> {
    let plan = Plan::of(assign, &runner.snapshots, runner.request_timeout).await?;
    let written = plan.snapshot_files().cloned().collect();
    let (mut files, mut segments) = (Vec::new(), Vec::new());
    for segment in plan.segments {
        let first = files.len();
        files.extend(segment.files.into_iter().map(|file| {
            let (declared_size_bytes, checksum) = (file.declared_size_bytes, file.checksum);
            (SourceFile { kind: file.kind, key: file.source_key, declared_size_bytes, checksum }, Some(file.target_key))
        }));
        let reported = CopiedSegment {
            target_segment_id: segment.mapping.target_segment_id,
            partition_id: segment.target_partition_id,
            num_of_rows: segment.rows,
            size_bytes: 0,
        };
        segments.push((reported, (first..files.len()).collect()));
    }
    Ok(Subject { source: plan.source, copy: Some(plan.target), files, written, segments })
}

/// The objects of the source alone.
async fn of_source(runner: &Runner, assign: &Assign) -> Result<Subject, Fault> {
    let snapshot = open_source(assign, &runner.snapshots).await?;
    let choice = indexes(assign)?;
    let (snapshot_ref, choice) = (&snapshot, &choice);
    let read = assign.id_mappings.iter().map(|mapping| async move {
        let manifest = snapshot_ref.manifest(mapping.source_segment_id).await.map_err(FilesError::from);
        let manifest = snapshot_ref.with_indexes(manifest?, choice);
        let files = snapshot_ref.files(&manifest).await?;
        Ok::<_, FilesError>((mapping.target_segment_id, manifest.partition_id, files))
    });
    let read: Vec<_> = read.collect();
    let read: Vec<_> = futures::stream::iter(read)
        .buffered(runner.files_at_once)
        .try_collect()
        .await
        .map_err(|error: FilesError| Fault::of_class(error.class(), error.to_string()))?;
    let (mut files, mut segments) = (Vec::new(), Vec::new());
    for (target_segment_id, partition_id, of_segment) in read {
        let first = files.len();
        files.extend(of_segment.files.into_iter().map(|file| (file, None)));
        let reported = CopiedSegment { target_segment_id, partition_id, num_of_rows: of_segment.rows, size_bytes: 0 };
        segments.push((reported, (first..files.len()).collect()));
    }
    let source = Place::new(snapshot.location().clone(), Side::Source, runner.request_timeout);
    Ok(Subject { source, copy: None, files, written: Vec::new(), segments })
}

impl Look<'_> {
    /// What is wrong with an object of the source, and with its copy.
    async fn at(
        &self,
        (file, copy_key): &(SourceFile, Option<String>),
        meta: Option<&Meta>,
    ) -> Result<Vec<String>, Fault> {
        self.permit.check()?;
        let source = &self.subject.source;
        let uri = source.uri(&file.key);
        let Some(meta) = meta else { return Ok(vec![format!("source object {uri} is missing")]) };
        if let Err(wrong) = file.check_size(meta.size_bytes) {
            return Ok(vec![format!("source object {uri}: {wrong}")]);
        }
        let mut content = file.checksum.map(|checksum| (checksum, "its checksum in the snapshot"));
        let mut found = Vec::new();
        if self.is_full {
            let read = self.read(source, Side::Source, &file.key, meta).await?;
            match content {
                Some((expected, _)) if expected != read => found.push(format!(
                    "source object {uri} has CRC32C {:08x}, not {:08x} as the snapshot says",
                    read.crc32c, expected.crc32c
                )),
                Some(_) | None => content = Some((read, "its source")),
            }
        }
        if let (Some(copy), Some(key)) = (&self.subject.copy, copy_key) {
            let expected = content.filter(|_| self.is_full).map(|(checksum, _)| checksum);
            found.extend(self.at_copy(copy, key, meta.size_bytes, expected).await?);
        }
        self.meter.add(meta.size_bytes);
        Ok(found)
    }

    /// What is wrong with an object of the copy's own snapshot.
    async fn at_written(&self, file: &SnapshotFile) -> Result<Vec<String>, Fault> {
        let Some(copy) = &self.subject.copy else { return Ok(Vec::new()) };
        let expected = Checksum::of(&file.content);
        let found = self.at_copy(copy, &file.target_key, expected.size_bytes, self.is_full.then_some(expected)).await?;
        Ok(found.into_iter().collect())
    }

    async fn at_copy(
        &self,
        copy: &Place,
        key: &str,
        size_bytes: u64,
        expected: Option<Checksum>,
    ) -> Result<Option<String>, Fault> {
        let uri = copy.uri(key);
        let Some(meta) = with_retries(self.permit, || copy.head(key)).await? else {
            return Ok(Some(format!("target object {uri} is missing")));
        };
        if meta.size_bytes != size_bytes {
            let found = meta.size_bytes;
            return Ok(Some(format!("target object {uri} has {found} bytes, not the {size_bytes} of its source")));
        }
        let Some(expected) = expected else { return Ok(None) };
        let read = self.read(copy, Side::Target, key, &meta).await?;
        let (found, expected_crc) = (read.crc32c, expected.crc32c);
        Ok((read != expected)
            .then(|| format!("target object {uri} has CRC32C {found:08x}, not the {expected_crc:08x} of its source")))
    }

    /// Reads all of an object, as fast as the limits let it pass.
    async fn read(&self, place: &Place, side: Side, key: &str, meta: &Meta) -> Result<Checksum, Fault> {
        with_retries(self.permit, || async {
            match place.folder() {
                Some(_) => self.read_local(place, side, key).await,
                None => self.read_remote(place, key, meta).await,
            }
        })
        .await
    }

    async fn read_local(&self, place: &Place, side: Side, key: &str) -> Result<Checksum, Fault> {
        let Some(folder) = place.folder().cloned() else { return Err(Fault::Stopped) };
        let (opened, name) = (folder.clone(), key.to_owned());
        let opened = blocking(move || opened.open(&name)).await.map_err(|error| Fault::of_folder(&error, side))?;
        let file = std::sync::Arc::new(opened);
        let mut checksum = Checksum::default();
        loop {
            self.permit.check()?;
            let size = usize::try_from(self.limits.chunk_bytes().min(READ_BYTES_MAX)).unwrap_or(usize::MAX);
            let file = std::sync::Arc::clone(&file);
            let read = blocking(move || {
                let mut buffer = vec![0; size];
                let count = file.read_at(&mut buffer, checksum.size_bytes)?;
                checksum.update(&buffer[..count]);
                Ok((checksum, count as u64))
            });
            let read: std::io::Result<(Checksum, u64)> = read.await;
            let count;
            (checksum, count) = read.map_err(|error| io_fault(&folder, key, &error, side))?;
            if count == 0 {
                return Ok(checksum);
            }
            self.limits.take(count, self.permit).await?;
        }
    }

    async fn read_remote(&self, place: &Place, key: &str, meta: &Meta) -> Result<Checksum, Fault> {
        let get = place.get_unchanged(key, meta, 0..meta.size_bytes);
        let Some(result) = self.permit.unless_ended(get).await?? else {
            let uri = place.uri(key);
            return Err(Fault::Transient(format!(
                "{uri} was written to while it was looked at; it is looked at again"
            )));
        };
        let mut stream = result.into_stream();
        let mut checksum = Checksum::default();
        loop {
            let next = async { stream.next().await.transpose() };
            let Some(chunk) = self.permit.unless_ended(place.next_part(key, next)).await?? else { break };
            self.limits.take(chunk.len() as u64, self.permit).await?;
            checksum.update(&chunk);
        }
        if checksum.size_bytes < meta.size_bytes {
            return Err(Fault::Transient(format!("reading {} ended early; it is read again", place.uri(key))));
        }
        Ok(checksum)
    }
}

/// Everything that was found, as far as there is room for it. What several segments share is told once.
fn told(found: &[String], objects: usize) -> String {
    let found: BTreeSet<&String> = found.iter().collect();
    let (count, mut text, mut named) = (found.len(), String::new(), 0);
    for one in &found {
        if named > 0 && text.len() + one.len() > NAMED_BYTES_MAX {
            break;
        }
        text += if named > 0 { "; " } else { "" };
        text += one;
        named += 1;
    }
    let more = if named < count { format!("; and {} more", count - named) } else { String::new() };
    format!("{count} of {objects} objects differ: {text}{more}")
}

#[cfg(test)]
mod tests {
    use super::{NAMED_BYTES_MAX, told};

    #[test]
    fn what_differs_is_named_as_far_as_there_is_room() {
        let few = ["a is missing".to_owned(), "b is missing".to_owned(), "a is missing".to_owned()];
        assert_eq!(told(&few, 5), "2 of 5 objects differ: a is missing; b is missing");
        let many: Vec<String> = (0..1_000).map(|number| format!("object {number:04} is missing")).collect();
        let text = told(&many, 2_000);
        assert!(text.starts_with("1000 of 2000 objects differ: object 0000 is missing; object 0001"), "{text}");
        assert!(text.len() < NAMED_BYTES_MAX + 100 && text.ends_with(" more"), "{text}");
    }
}
