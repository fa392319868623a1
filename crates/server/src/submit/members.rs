//! A snapshot as a stream of mappings is held against it: a segment takes a bit beside its place in the snapshot, whatever
//! comes.

use super::CheckedSubmit;
use super::source::{check_member, check_partitions, named_partitions, open};
use super::warnings::Look;
use crate::status::Violations;
use ferry_machine::command::IdMapping;
use ferry_machine::row::JobSpec;
use ferry_snapshot::{Snapshot, Snapshots};
use std::sync::Arc;
use tonic::Status;

/// The segments of a snapshot, and which of them the stream has named.
pub(crate) struct Members {
    snapshot: Arc<Snapshot>,
    /// One bit a segment, in the order of the ids.
    named: Vec<u64>,
    /// Partitions named by mappings and by the target so far: these are compared in the manifests.
    compared: usize,
    look: Look,
}

impl Members {
    /// Opens the snapshot of a submit; says what is asked for, of this very snapshot.
    pub(crate) async fn open(checked: &CheckedSubmit, snapshots: &Snapshots) -> Result<(Self, JobSpec), Status> {
        let (snapshot, spec) = open(checked, snapshots).await?;
        let named = vec![0; snapshot.segment_ids().len().div_ceil(64)];
        let members = Self { look: Look::new(&snapshot), snapshot, named, compared: 0 };
        Ok((members, spec))
    }

    /// Holds the next mappings against the snapshot; `first` is the place of the first one in the request.
    pub(crate) async fn check(&mut self, spec: &JobSpec, first: u64, mappings: &[IdMapping]) -> Result<(), Status> {
        let mut violations = Violations::default();
        for (index, mapping) in (first..).zip(mappings) {
            self.name(index, mapping, &mut violations);
        }
        violations.into_result()?;
        let named: Vec<(u64, IdMapping)> = named_partitions(spec, first, mappings).collect();
        self.compared += named.len();
        check_partitions(&self.snapshot, spec, &named, self.compared).await?;
        self.look.read(&self.snapshot, mappings).await;
        Ok(())
    }

    /// What the snapshot warns of.
    pub(crate) fn look(&self) -> &Look {
        &self.look
    }

    fn name(&mut self, index: u64, mapping: &IdMapping, violations: &mut Violations) {
        check_member(&self.snapshot, index, mapping.source, violations);
        let Some(place) = self.snapshot.segment_place(mapping.source.0) else { return };
        let (word, bit) = (&mut self.named[place / 64], 1 << (place % 64));
        if *word & bit != 0 {
            let reason =
                format!("is {}, which an earlier mapping names: name each source segment once", mapping.source);
            violations.add(format!("id_mappings[{index}].source_segment_id"), reason);
        }
        *word |= bit;
    }
}
