//! What Milvus writes to etcd for one successful copy job of N segments in T tasks, with its sizes.
//!
//! Its way: 3 N + 5 T + 7 writes (the last T + 2 after the job is Completed), progress, and its locks, which are held over
//! the write, so that what one lock guards goes one by one however many tasks run. As well as can be: what is there when
//! the job is Completed, in large transactions.

use crate::etcd::{self, Kv, OPERATIONS_MAX};
use futures::stream::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Segments of one task.
pub(crate) const SEGMENTS_PER_TASK: usize = 10;
/// Tasks that run at once, and transactions on their way.
const IN_FLIGHT: usize = 128;
/// Milvus looks for progress this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Bytes of each record with its key; the job's carries every mapping.
const SEGMENT_BYTES: usize = 330;
const TASK_BYTES: usize = 375;
const COPIED_KEYS: usize = 7;
const COPIED_KEY_BYTES: usize = 300;
const INDEX_BYTES: usize = 105;
const CHECKPOINT_BYTES: usize = 150;
const JOB_BYTES_PER_SEGMENT: usize = 32;

/// Jobs that were written, so that each has keys of its own.
static JOBS: AtomicUsize = AtomicUsize::new(0);

type Record = (String, Vec<u8>);

/// Writes one job as Milvus does; how long until it is Completed.
pub(crate) async fn its_way(kvs: &[Kv], segments: usize) -> anyhow::Result<Duration> {
    let writing = Arc::new(Writing::new(kvs, segments));
    let began = Instant::now();
    for segment in 0..segments {
        writing.put(writing.segment(segment)).await?;
    }
    for channel in 0..2 {
        writing.put(writing.job.record(&format!("channel-cp/{channel}"), CHECKPOINT_BYTES)).await?;
    }
    writing.put(writing.job()).await?;
    for task in 0..writing.tasks() {
        writing.put(writing.task(task)).await?;
    }
    writing.put(writing.job()).await?;
    let copying = futures::stream::iter(0..writing.tasks());
    let copying = copying.map(|task| tokio::spawn(copy(Arc::clone(&writing), task))).buffer_unordered(IN_FLIGHT);
    let copied = copying.map(|joined| joined?).try_collect::<Vec<()>>();
    tokio::pin!(copied);
    // It writes the job whenever a look finds progress, until all tasks are done.
    let mut looks = tokio::time::interval(PROGRESS_INTERVAL);
    looks.tick().await;
    loop {
        tokio::select! {
            copied = &mut copied => {
                copied?;
                break;
            }
            _ = looks.tick() => {
                let _held = writing.tasks_lock.lock().await;
                writing.put(writing.job()).await?;
            }
        }
    }
    // What follows nobody waits for: the snapshot is unpinned, and after its retention the job's records are deleted.
    writing.put(writing.job()).await?;
    Ok(began.elapsed())
}

/// One task: dispatched, its segments copied and indexed, done, released.
async fn copy(writing: Arc<Writing>, task: usize) -> anyhow::Result<()> {
    writing.update_task(task).await?;
    let from = task * SEGMENTS_PER_TASK;
    for segment in from..(from + SEGMENTS_PER_TASK).min(writing.segments) {
        let copied = writing.copied(segment).map(etcd::put_operation).collect();
        {
            let _held = writing.segments_lock.lock().await;
            etcd::transaction(writing.kv(), copied).await?;
        }
        // Its lock is one per index build, so these go side by side.
        writing.put(writing.index(segment)).await?;
    }
    writing.update_task(task).await?;
    writing.update_task(task).await
}

/// Writes the same end state in as few and as concurrent transactions as etcd takes; how long that took.
pub(crate) async fn as_well_as_can_be(kvs: &[Kv], segments: usize) -> anyhow::Result<Duration> {
    let writing = Writing::new(kvs, segments);
    let began = Instant::now();
    writing.put(writing.job()).await?;
    let records = (0..segments).flat_map(|segment| writing.copied(segment).chain([writing.index(segment)]));
    let records = records.chain((0..writing.tasks()).map(|task| writing.task(task)));
    let checkpoints = (0..2).map(|channel| writing.job.record(&format!("channel-cp/{channel}"), CHECKPOINT_BYTES));
    futures::stream::iter(records.chain(checkpoints).map(etcd::put_operation))
        .chunks(OPERATIONS_MAX)
        .map(|operations| Ok::<_, anyhow::Error>(etcd::transaction(writing.kv(), operations)))
        .try_buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await?;
    writing.put(writing.job()).await?;
    Ok(began.elapsed())
}

/// One job on its way into etcd.
struct Writing {
    kvs: Vec<Kv>,
    next_kv: AtomicUsize,
    job: Prefix,
    segments: usize,
    /// `copySegmentMeta.mu`.
    tasks_lock: Mutex<()>,
    /// `meta.segMu`.
    segments_lock: Mutex<()>,
}

/// Where the keys of one job begin.
struct Prefix(String);

impl Prefix {
    /// A record of so many bytes with its key.
    fn record(&self, name: &str, bytes: usize) -> Record {
        let key = format!("{}/{name}", self.0);
        let value = vec![1; bytes.saturating_sub(key.len())];
        (key, value)
    }
}

impl Writing {
    fn new(kvs: &[Kv], segments: usize) -> Self {
        let job = JOBS.fetch_add(1, Ordering::Relaxed);
        Self {
            kvs: kvs.to_vec(),
            next_kv: AtomicUsize::new(0),
            job: Prefix(format!("by-dev/meta/datacoord-meta/{job:06}")),
            segments,
            tasks_lock: Mutex::default(),
            segments_lock: Mutex::default(),
        }
    }

    fn tasks(&self) -> usize {
        self.segments.div_ceil(SEGMENTS_PER_TASK)
    }

    /// The next of the connections.
    fn kv(&self) -> Kv {
        let next = self.next_kv.fetch_add(1, Ordering::Relaxed);
        self.kvs[next % self.kvs.len()].clone()
    }

    async fn put(&self, (key, value): Record) -> anyhow::Result<()> {
        etcd::put(self.kv(), key, value).await
    }

    async fn update_task(&self, task: usize) -> anyhow::Result<()> {
        let _held = self.tasks_lock.lock().await;
        self.put(self.task(task)).await
    }

    fn job(&self) -> Record {
        self.job.record("copy-job", self.segments * JOB_BYTES_PER_SEGMENT)
    }

    fn task(&self, task: usize) -> Record {
        self.job.record(&format!("copy-task/{task:08}"), TASK_BYTES)
    }

    /// A target that is registered.
    fn segment(&self, segment: usize) -> Record {
        self.job.record(&format!("s/{segment:08}"), SEGMENT_BYTES)
    }

    /// A target that is copied: its own key, and those of its files.
    fn copied(&self, segment: usize) -> impl Iterator<Item = Record> {
        let files = (1..COPIED_KEYS).map(move |file| format!("binlog/{segment:08}/{file}"));
        [format!("s/{segment:08}")].into_iter().chain(files).map(|name| self.job.record(&name, COPIED_KEY_BYTES))
    }

    fn index(&self, segment: usize) -> Record {
        self.job.record(&format!("segment-index/{segment:08}"), INDEX_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_sizes_that_milvus_writes() {
        let writing = Writing::new(&[], 1_000);
        let bytes = |(key, value): Record| key.len() + value.len();
        assert_eq!(bytes(writing.segment(999)), SEGMENT_BYTES);
        assert_eq!(bytes(writing.task(99)), TASK_BYTES);
        assert_eq!(bytes(writing.index(999)), INDEX_BYTES);
        assert_eq!(bytes(writing.job()), 32_000);
        let copied: Vec<Record> = writing.copied(999).collect();
        assert_eq!(copied.len(), COPIED_KEYS);
        assert_eq!(copied.into_iter().map(bytes).sum::<usize>(), 2_100);
    }

    #[test]
    fn no_two_records_of_a_job_or_of_two_jobs_share_a_key() {
        let (first, second) = (Writing::new(&[], 10), Writing::new(&[], 10));
        let keys = |writing: &Writing| -> Vec<String> {
            let copied = (0..10).flat_map(|segment| writing.copied(segment).chain([writing.index(segment)]));
            copied.chain([writing.job(), writing.task(0)]).map(|(key, _)| key).collect()
        };
        let all: Vec<String> = keys(&first).into_iter().chain(keys(&second)).collect();
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
