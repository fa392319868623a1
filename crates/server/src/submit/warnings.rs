//! What the snapshot of a submit warns of. A warning that needs to be accepted follows from the metadata, so a submit is
//! decided without its manifests; those are read for the others, as far as an answer can wait for that.

use super::source::MANIFESTS_AT_ONCE;
use crate::status::{Violations, cut};
use crate::wire;
use ferry_machine::command::IdMapping;
use ferry_proto::v1;
use ferry_snapshot::{Manifest, Snapshot, Warning, WarningKind};
use futures::{StreamExt, stream};
use prost::Message;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

/// Bytes of the warnings of one answer.
const WARNINGS_BYTES_MAX: usize = 4 << 10;
/// Bytes of the words of one, so that there is room for several.
const TEXT_BYTES_MAX: usize = 600;
/// Manifests that a submit reads for warnings.
const MANIFESTS_READ_MAX: usize = 1_000;
/// How long it reads them at most.
const READING_MAX: Duration = Duration::from_secs(5);

/// The warnings that are told, and how many there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings {
    pub(crate) told: Vec<v1::Warning>,
    bytes: usize,
    pub(crate) total: u64,
}

impl Warnings {
    /// What the metadata tells.
    pub(crate) fn of_metadata(snapshot: &Snapshot) -> Self {
        let mut warnings = Self::default();
        warnings.add_all(snapshot.warnings());
        warnings
    }

    /// Adds what a manifest tells.
    pub(crate) fn add_manifest(&mut self, snapshot: &Snapshot, manifest: &Manifest) {
        self.add_all(snapshot.segment_warnings(manifest));
    }

    /// Adds some behind those that there are.
    pub(crate) fn add_all(&mut self, warnings: Vec<Warning>) {
        for warning in warnings {
            self.total += 1;
            let warning = v1::Warning {
                reason: reason(warning.kind),
                segment_id: warning.segment_id.unwrap_or(0),
                text: cut(&warning.text, TEXT_BYTES_MAX),
            };
            // Tag and length come with each.
            self.bytes += warning.encoded_len() + 4;
            if self.bytes <= WARNINGS_BYTES_MAX {
                self.told.push(warning);
            }
        }
    }
}

/// The warnings of a submit, read on with the mappings that come.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) warnings: Warnings,
    /// Segments whose manifests were read.
    read: u64,
    /// Manifests that may still be read, and for how long.
    left: usize,
    time_left: Duration,
}

impl Look {
    /// Begins with what the metadata tells.
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let warnings = Warnings::of_metadata(snapshot);
        Self { warnings, read: 0, left: MANIFESTS_READ_MAX, time_left: READING_MAX }
    }

    /// Reads the manifests of the next mappings. One that cannot be read tells nothing here: the attempt that needs it
    /// says what is wrong with it.
    pub(crate) async fn read(&mut self, snapshot: &Snapshot, mappings: &[IdMapping]) {
        let began = Instant::now();
        let sources: Vec<i64> = mappings.iter().take(self.left).map(|mapping| mapping.source.0).collect();
        self.left -= sources.len();
        let mut manifests = stream::iter(sources).map(|id| snapshot.manifest(id)).buffered(MANIFESTS_AT_ONCE);
        while let Ok(Some(read)) = timeout_at(began + self.time_left, manifests.next()).await {
            if let Ok(manifest) = read {
                self.warnings.add_manifest(snapshot, &manifest);
                self.read += 1;
            }
        }
        self.time_left = self.time_left.saturating_sub(began.elapsed());
    }

    /// Of so many segments, those whose manifests were not read.
    pub(crate) fn unchecked(&self, segments: u64) -> i64 {
        debug_assert!(self.read <= segments, "no manifest is read twice");
        wire::signed(segments - self.read)
    }
}

/// As the API spells it: ROWS_BEYOND_SNAPSHOT.
fn reason(kind: WarningKind) -> String {
    kind.name().to_uppercase().replace('-', "_")
}

/// The warnings that a submit accepts, by their names in either spelling.
pub(super) fn accepted(names: &[String], violations: &mut Violations) -> BTreeSet<WarningKind> {
    let mut accepted = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        match name.to_lowercase().replace('_', "-").parse::<WarningKind>() {
            Ok(kind) => _ = accepted.insert(kind),
            Err(error) => violations.add_with(|| (format!("accept[{index}]"), cut(&error.to_string(), TEXT_BYTES_MAX))),
        }
    }
    accepted
}

/// Refuses a submit for each warning that it has to accept and does not.
pub(super) fn check_accepted(snapshot: &Snapshot, accepted: &BTreeSet<WarningKind>) -> Result<(), Status> {
    let mut violations = Violations::default();
    for warning in snapshot.warnings() {
        if warning.kind.needs_accept() && !accepted.contains(&warning.kind) {
            let text = cut(&warning.text, TEXT_BYTES_MAX);
            violations.add("accept", format!("lacks {}: {text}", warning.kind));
        }
    }
    violations.into_result()
}
