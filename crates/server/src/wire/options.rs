//! Options of a job on the wire.

use super::known;
use crate::status::Violations;
use ferry_machine::row::{FailurePolicy, IndexKind, Indexes, JobOptions, VerifyMode};
use ferry_proto::v1;
use std::collections::{BTreeSet, HashMap};

/// How copies are verified.
pub(crate) fn verify_mode(value: i32, field: &str, violations: &mut Violations) -> VerifyMode {
    match known(value, field, violations) {
        Some(v1::VerifyMode::Full) => VerifyMode::Full,
        Some(v1::VerifyMode::Standard | v1::VerifyMode::Unspecified) | None => VerifyMode::Standard,
    }
}

/// What a task that no attempt can help any more does to its job; unset: `None`.
pub(crate) fn failure_policy(value: i32, field: &str, violations: &mut Violations) -> Option<FailurePolicy> {
    match known(value, field, violations)? {
        v1::FailurePolicy::Fail => Some(FailurePolicy::Fail),
        v1::FailurePolicy::Pause => Some(FailurePolicy::Pause),
        v1::FailurePolicy::Keep => Some(FailurePolicy::Keep),
        v1::FailurePolicy::Unspecified => None,
    }
}

/// The same in the words of its older field.
pub(crate) fn exhausted_policy(value: i32, field: &str, violations: &mut Violations) -> Option<FailurePolicy> {
    match known(value, field, violations)? {
        v1::ExhaustedPolicy::Fail => Some(FailurePolicy::Fail),
        v1::ExhaustedPolicy::Pause => Some(FailurePolicy::Pause),
        v1::ExhaustedPolicy::Unspecified => None,
    }
}

/// Which index files are copied; empty: all.
pub(crate) fn indexes(values: &[i32], field: &str, violations: &mut Violations) -> Indexes {
    let (mut kinds, mut alone) = (BTreeSet::new(), None);
    for value in values {
        match known(*value, field, violations) {
            Some(v1::IndexKind::All) => alone = Some(Indexes::All),
            Some(v1::IndexKind::None) => alone = Some(Indexes::Only(BTreeSet::new())),
            Some(v1::IndexKind::Vector) => _ = kinds.insert(IndexKind::Vector),
            Some(v1::IndexKind::Scalar) => _ = kinds.insert(IndexKind::Scalar),
            Some(v1::IndexKind::Text) => _ = kinds.insert(IndexKind::Text),
            Some(v1::IndexKind::Json) => _ = kinds.insert(IndexKind::Json),
            Some(v1::IndexKind::Unspecified) => {
                violations.add(field, "has a kind that is unspecified: name it, or leave indexes empty for all");
            }
            None => {}
        }
    }
    violations.require(alone.is_none() || values.len() == 1, field, || {
        "has INDEX_KIND_ALL or INDEX_KIND_NONE beside others: each of them stands alone".to_owned()
    });
    alone.unwrap_or(if kinds.is_empty() { Indexes::All } else { Indexes::Only(kinds) })
}

/// The same, as a client could send it.
pub(crate) fn indexes_to_wire(indexes: &Indexes) -> Vec<i32> {
    let kind = |kind: &IndexKind| match kind {
        IndexKind::Vector => v1::IndexKind::Vector,
        IndexKind::Scalar => v1::IndexKind::Scalar,
        IndexKind::Text => v1::IndexKind::Text,
        IndexKind::Json => v1::IndexKind::Json,
    };
    match indexes {
        Indexes::All => vec![v1::IndexKind::All.into()],
        Indexes::Only(kinds) if kinds.is_empty() => vec![v1::IndexKind::None.into()],
        Indexes::Only(kinds) => kinds.iter().map(|one| kind(one).into()).collect(),
    }
}

/// Options as resolved; labels are no part of them here.
pub(super) fn options_to_wire(options: &JobOptions) -> v1::JobOptions {
    let (on_failure, on_exhausted) = match options.on_failure {
        FailurePolicy::Fail => (v1::FailurePolicy::Fail, v1::ExhaustedPolicy::Fail),
        FailurePolicy::Pause => (v1::FailurePolicy::Pause, v1::ExhaustedPolicy::Pause),
        // The older field has no word for it.
        FailurePolicy::Keep => (v1::FailurePolicy::Keep, v1::ExhaustedPolicy::Unspecified),
    };
    v1::JobOptions {
        timeout_ms: options.timeout_ms.unwrap_or(0),
        no_timeout: options.timeout_ms.is_none(),
        retention_ms: options.retention_ms,
        priority: Some(options.priority.into()),
        segments_per_task_max: options.segments_per_task_max,
        attempts_max: options.attempts_max,
        bandwidth_bytes_per_second: options.bandwidth_bytes_per_second,
        start_paused: options.start_paused,
        verify: match options.verify {
            VerifyMode::Standard => v1::VerifyMode::Standard,
            VerifyMode::Full => v1::VerifyMode::Full,
        }
        .into(),
        on_exhausted: on_exhausted.into(),
        labels: HashMap::new(),
        on_failure: on_failure.into(),
        indexes: indexes_to_wire(&options.indexes),
        self_contained: options.self_contained,
        verify_only: options.verify_only,
        requests_per_second: options.requests_per_second,
        attempts_at_once_max: options.attempts_at_once_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::IndexKind::{All, Json, None, Text, Unspecified, Vector};

    fn read(kinds: &[v1::IndexKind]) -> Result<Indexes, tonic::Status> {
        let mut violations = Violations::default();
        let kinds: Vec<i32> = kinds.iter().map(|kind| i32::from(*kind)).collect();
        let indexes = indexes(&kinds, "options.indexes", &mut violations);
        violations.into_result().map(|()| indexes)
    }

    #[test]
    fn a_choice_of_indexes_is_answered_as_it_can_be_sent() {
        for kinds in [vec![All], vec![None], vec![Vector], vec![Vector, Text, Json]] {
            let wire: Vec<i32> = kinds.iter().map(|kind| i32::from(*kind)).collect();
            assert_eq!(indexes_to_wire(&read(&kinds).expect("a choice")), wire);
        }
        assert_eq!(read(&[]).expect("no choice"), Indexes::All);
        for (kinds, words) in
            [(vec![All, Text], "stands alone"), (vec![Text, None], "stands alone"), (vec![Unspecified], "unspecified")]
        {
            let status = read(&kinds).expect_err(words);
            assert!(status.message().contains(words), "{}", status.message());
        }
    }
}
