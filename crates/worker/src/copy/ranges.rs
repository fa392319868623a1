//! A large object from a store to a disk: several of its ranges are read at once and written at their offsets.

use super::reader::{Source, ended_early};
use super::temporary::TemporaryFile;
use super::upload::PART_BYTES_MIN;
use super::window::PARTS_MAX;
use super::{Copier, FileCopy, FileMeter};
use crate::failure::Fault;
use ferry_objects::{Checksum, blocking};
use futures::StreamExt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one range holds in memory: what is written at a time, and the buffers of its connection.
const RANGE_BYTES_HELD: u64 = 4 << 20;
/// How much is written at a time.
const WRITE_BYTES: u64 = 1 << 20;

/// Whether the object is worth it.
pub(super) fn has_several(size_bytes: u64) -> bool {
    size_bytes >= 2 * PART_BYTES_MIN
}

/// Reads all ranges into the file; all that was begun has ended when this returns.
pub(super) async fn read(
    copier: &Copier,
    file: &FileCopy,
    meter: &FileMeter<'_>,
    source: &Source,
    target: &Arc<TemporaryFile>,
) -> Result<Checksum, Fault> {
    let (permit, stop) = copier.permit.child();
    let reading = &Copier { permit, ..copier.clone() };
    let written = &AtomicU64::new(0);
    let size_bytes = file.source.size_bytes;
    let starts = (0..size_bytes).step_by(usize::try_from(PART_BYTES_MIN).unwrap_or(usize::MAX));
    let ranges = starts.map(|start| start..(start + PART_BYTES_MIN).min(size_bytes));
    let count = usize::try_from(size_bytes.div_ceil(PART_BYTES_MIN)).unwrap_or(0);
    let reads = ranges.enumerate().map(|(index, range)| async move {
        (index, read_range(reading, file, meter, source, target, range, written).await)
    });
    let mut reads = futures::stream::iter(reads).buffer_unordered(at_once(copier));
    let mut result = Ok(());
    let mut checksums = vec![Checksum::default(); count];
    while let Some((index, read)) = reads.next().await {
        match (read, &result) {
            (Ok(checksum), _) => checksums[index] = checksum,
            // What the stop ends says only that it was stopped.
            (Err(fault), Ok(()) | Err(Fault::Stopped)) => {
                stop.cancel();
                result = Err(fault);
            }
            (Err(_), Err(_)) => {}
        }
    }
    result?;
    let mut passed = Checksum::default();
    checksums.into_iter().for_each(|checksum| passed.append(checksum));
    if passed.size_bytes < size_bytes { Err(ended_early(copier, file, passed)) } else { Ok(passed) }
}

/// Under a low limit of bytes a second several would only take turns, each on a connection that is silent meanwhile.
pub(super) fn at_once(copier: &Copier) -> usize {
    if copier.limits.chunk_bytes() < PART_BYTES_MIN { 1 } else { PARTS_MAX }
}

async fn read_range(
    copier: &Copier,
    file: &FileCopy,
    meter: &FileMeter<'_>,
    source: &Source,
    target: &Arc<TemporaryFile>,
    range: Range<u64>,
    written: &AtomicU64,
) -> Result<Checksum, Fault> {
    let held = copier.budget.take(RANGE_BYTES_HELD, &copier.permit).await?;
    let mut buffer = held.buffer(WRITE_BYTES);
    let mut passed = Checksum::default();
    let mut reader = source.read(copier, file, range.clone()).await?;
    loop {
        let bytes = WRITE_BYTES.min(copier.limits.chunk_bytes());
        let (filled, checksum) = reader.fill(copier, file, buffer, bytes).await?;
        if checksum.size_bytes == 0 {
            return Ok(passed);
        }
        let (newly, offset) = (checksum.size_bytes, range.start + passed.size_bytes);
        passed.append(checksum);
        let (target, permit) = (Arc::clone(target), copier.permit.clone());
        let write = blocking(move || {
            permit.check()?;
            target.write_at(filled.as_ref(), offset)?;
            Ok::<_, Fault>(filled)
        });
        buffer = write.await?;
        meter.at(written.fetch_add(newly, Ordering::Relaxed) + newly, newly);
    }
}
