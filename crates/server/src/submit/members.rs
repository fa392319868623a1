//! A snapshot as a stream of mappings is held against it: a segment takes eight bytes and a bit, whatever comes.

use super::CheckedSubmit;
use super::source::{check_partitions, named_partitions, no_member, open, pinned};
use crate::status::Violations;
use ferry_machine::command::IdMapping;
use ferry_machine::row::JobSpec;
use ferry_snapshot::{Snapshot, Stores};
use tonic::Status;

/// The segments of a snapshot, and which of them the stream has named.
pub(crate) struct Members {
    uri: String,
    /// Ascending.
    segment_ids: Vec<i64>,
    /// One bit a segment, in the same order.
    named: Vec<u64>,
    /// Only where partitions are named by mappings and by the target: these are compared in the manifests.
    snapshot: Option<Snapshot>,
    compared: usize,
}

impl Members {
    /// Opens the snapshot of a submit; says what is asked for, of this very snapshot.
    pub(crate) async fn open(checked: &CheckedSubmit, stores: &Stores) -> Result<(Self, JobSpec), Status> {
        let snapshot = open(&checked.spec, stores).await?;
        let spec = pinned(&snapshot, &checked.spec)?;
        let segment_ids: Vec<i64> = snapshot.segment_ids().collect();
        let members = Self {
            uri: snapshot.uri(),
            named: vec![0; segment_ids.len().div_ceil(64)],
            segment_ids,
            snapshot: (!spec.partition_ids.is_empty()).then_some(snapshot),
            compared: 0,
        };
        Ok((members, spec))
    }

    /// Holds the next mappings against the snapshot; `first` is the place of the first one in the request.
    pub(crate) async fn check(&mut self, spec: &JobSpec, first: u64, mappings: &[IdMapping]) -> Result<(), Status> {
        let mut violations = Violations::default();
        for (index, mapping) in (first..).zip(mappings) {
            self.name(index, mapping, &mut violations);
        }
        violations.into_result()?;
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let named: Vec<(u64, IdMapping)> = named_partitions(spec, first, mappings).collect();
        self.compared += named.len();
        check_partitions(snapshot, spec, &named, self.compared).await
    }

    fn name(&mut self, index: u64, mapping: &IdMapping, violations: &mut Violations) {
        let Ok(place) = self.segment_ids.binary_search(&mapping.source.0) else {
            return no_member(index, mapping.source, &self.uri, violations);
        };
        let (word, bit) = (&mut self.named[place / 64], 1 << (place % 64));
        if *word & bit != 0 {
            let reason =
                format!("is {}, which an earlier mapping names: name each source segment once", mapping.source);
            violations.add(format!("id_mappings[{index}].source_segment_id"), reason);
        }
        *word |= bit;
    }
}
