//! One number for all rows: equal on two nodes exactly where their rows are. Nothing that belongs to one node is in it.

use ferry_machine::id::EventId;
use ferry_machine::key::Key;
use ferry_machine::tables::Read;
use ferry_store::codec;
use sha2::{Digest, Sha256};
use std::ops::Bound;

/// Rows read from the store at once.
const ROWS_AT_ONCE: usize = 1_000;

/// How many rows there are, and what they come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digested {
    pub(super) rows: u64,
    /// SHA-256 in hexadecimal.
    pub(super) digest: String,
}

impl Digested {
    /// Reads every row. Each goes in with the lengths of its parts, so that none can pass for parts of another. Rows
    /// are encoded anew: what an earlier version wrote counts like what this one writes.
    pub(super) fn of(read: &impl Read) -> Self {
        let end = Key::Event(EventId::END);
        let (mut from, mut rows, mut hasher) = (Bound::Unbounded, 0, Sha256::new());
        loop {
            let page = read.scan(from, &end, ROWS_AT_ONCE);
            rows += page.len() as u64;
            let Some(last) = page.last().map(|(key, _)| key.clone()) else { break };
            from = Bound::Excluded(last);
            for (key, row) in page {
                add(&mut hasher, &codec::key::encode(&key));
                add(&mut hasher, &codec::rows::encode(row));
            }
        }
        let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { rows, digest }
    }
}

fn add(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::Digested;
    use ferry_machine::id::{JobId, SegmentId, WorkerId};
    use ferry_machine::key::Key;
    use ferry_machine::row::{Cluster, Mapping, Row};
    use ferry_machine::tables::{Memory, Tables};

    fn rows(count: i64) -> Memory {
        let mut rows = Memory::default();
        rows.put(Key::Cluster, Row::Cluster(Cluster { cluster_id: 7, ..Cluster::default() }));
        for number in 0..count {
            rows.put(Key::JobTargets(JobId(1), SegmentId(number)), Row::Mappings(vec![Mapping::default()]));
        }
        rows
    }

    #[test]
    fn one_row_more_less_or_other_among_several_pages_makes_another_digest() {
        let digested = Digested::of(&rows(2_500));
        assert_eq!(digested, Digested::of(&rows(2_500)));
        assert_eq!((digested.rows, digested.digest.len()), (2_501, 64));
        let mut less = rows(2_500);
        less.delete(&Key::JobTargets(JobId(1), SegmentId(2_499)));
        let mut more = rows(2_500);
        more.put(Key::WorkerName("w".to_owned()), Row::WorkerName(WorkerId(3)));
        let mut other = rows(2_500);
        let mapping = Mapping { partition_id: 1, ..Mapping::default() };
        other.put(Key::JobTargets(JobId(1), SegmentId(1_700)), Row::Mappings(vec![mapping]));
        for changed in [less, more, other] {
            assert_ne!(Digested::of(&changed).digest, digested.digest);
        }
    }
}
