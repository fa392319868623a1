//! Everything about a submit that can be told from the request alone, told at once and before anything is changed.

use super::choice::Choice;
use super::hash::RequestHash;
use super::pages::PageHash;
use super::warnings::accepted;
use crate::config::JobOptions as Defaults;
use crate::config::milliseconds;
use crate::status::{Violations, echoed};
use crate::wire;
use ferry_machine::command::IdMapping;
use ferry_machine::id::SegmentId;
use ferry_machine::limits;
use ferry_machine::row::{FailurePolicy, JobOptions, JobSpec};
use ferry_objects::Stores;
use ferry_proto::v1;
use ferry_snapshot::WarningKind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tonic::Status;

/// Where a job's labels are given.
const LABELS: &str = "options.labels";

/// A submit whose request can be; its snapshot is not looked at yet.
#[derive(Debug)]
pub(crate) struct CheckedSubmit {
    /// As given, or made here.
    pub(crate) request_id: String,
    /// Whether the request id was given: only then can the request be known already.
    pub(crate) request_id_given: bool,
    /// Hash of the request as it was given, but for its mappings.
    header: RequestHash,
    /// The same with the mappings.
    pub(crate) hash: RequestHash,
    /// What is asked for, but for what the snapshot says.
    pub(crate) spec: JobSpec,
    /// As given; none: what is chosen of the snapshot.
    pub(crate) mappings: Vec<IdMapping>,
    /// What the job is to copy where no mappings say it.
    pub(crate) choice: Choice,
    /// Target partitions by source partitions' names or ids, to be looked up in the snapshot.
    pub(crate) named_partitions: BTreeMap<String, i64>,
    /// Warnings of the snapshot that the submit is not to be refused for.
    pub(crate) accepted: BTreeSet<WarningKind>,
    /// Check and plan only.
    pub(crate) dry_run: bool,
}

/// Checks a request; options it leaves open are taken from the node's configuration.
pub(crate) fn check(
    request: v1::SubmitJobRequest,
    defaults: &Defaults,
    stores: &Stores,
) -> Result<CheckedSubmit, Status> {
    let mappings = request.id_mappings.len() as u64;
    check_counted(request, mappings, defaults, stores)
}

/// The same of a request that has, or is going to have, so many mappings.
fn check_counted(
    request: v1::SubmitJobRequest,
    mappings: u64,
    defaults: &Defaults,
    stores: &Stores,
) -> Result<CheckedSubmit, Status> {
    let header = RequestHash::of_header(&request, mappings);
    let mut violations = Violations::default();
    let (source, target) = (request.source.unwrap_or_default(), request.target.unwrap_or_default());
    let options = request.options.unwrap_or_default();
    check_text("request_id", &request.request_id, &mut violations);
    check_text("name", &request.name, &mut violations);
    check_uri("source.uri", &source.uri, "the snapshot's metadata file or prefix", stores, &mut violations);
    match options.verify_only {
        true => check_verified(&target, stores, &mut violations),
        false => {
            check_uri("target.uri", &target.uri, "the root the copies go to", stores, &mut violations);
            check_collection(&target, &mut violations);
        }
    }
    check_target(&target, &mut violations);
    check_named_partitions(&target, &mut violations);
    check_labels(&options.labels, &mut violations);
    let resolved = resolve(&options, defaults, &mut violations);
    check_mappings(&request.id_mappings, &mut violations);
    let choice = Choice::of(request.select, mappings > 0, &mut violations);
    let accepted = accepted(&request.accept, &mut violations);
    violations.into_result()?;
    let request_id_given = !request.request_id.is_empty();
    let mappings: Vec<IdMapping> = request.id_mappings.iter().map(mapping).collect();
    Ok(CheckedSubmit {
        request_id: if request_id_given { request.request_id } else { uuid::Uuid::new_v4().to_string() },
        request_id_given,
        hash: header.clone().with(&mappings),
        header,
        spec: JobSpec {
            name: request.name,
            source_uri: source.uri,
            target_uri: target.uri,
            collection_id: target.collection_id,
            partition_ids: target.partition_ids.into_iter().collect(),
            options: resolved,
            labels: options.labels.into_iter().collect(),
            ..JobSpec::default()
        },
        mappings,
        choice,
        named_partitions: target.partitions.into_iter().collect(),
        accepted,
        dry_run: request.dry_run,
    })
}

impl CheckedSubmit {
    /// How the pages of this submit are hashed; mappings that follow from a snapshot are no part of the request.
    pub(crate) fn page_hash(&self) -> PageHash {
        match self.mappings.is_empty() {
            true => PageHash::Whole(self.hash.clone()),
            false => PageHash::Grows(self.header.clone()),
        }
    }
}

/// The header of a stream, checked.
pub(crate) fn check_header(
    header: v1::SubmitJobStreamHeader,
    defaults: &Defaults,
    stores: &Stores,
) -> Result<CheckedSubmit, Status> {
    let request = header.request.unwrap_or_default();
    let mut violations = Violations::default();
    violations.require(!request.request_id.is_empty(), "header.request.request_id", || {
        "is empty: name the submit, so that a stream that breaks off can go on".to_owned()
    });
    violations.require(request.id_mappings.is_empty(), "header.request.id_mappings", || {
        "are set: send the mappings in pages behind the header".to_owned()
    });
    violations.require(request.select.is_none(), "header.request.select", || {
        "is set: the mappings behind the header say what is copied".to_owned()
    });
    violations.require(!request.dry_run, "header.request.dry_run", || {
        "is set: SubmitJob plans without changing anything".to_owned()
    });
    let total = header.total_mappings;
    violations.require(total > 0, "header.total_mappings", || {
        format!("is {total}: say how many follow; SubmitJob without mappings copies every segment of the snapshot")
    });
    violations.into_result()?;
    if total.unsigned_abs() > limits::MAPPINGS_PER_JOB_MAX {
        return Err(Status::resource_exhausted(format!(
            "header.total_mappings: is {total}, and a job can have {}: split the job",
            limits::MAPPINGS_PER_JOB_MAX
        )));
    }
    let checked = check_counted(request, total.unsigned_abs(), defaults, stores)?;
    let spec = JobSpec { segments: total.unsigned_abs(), ..checked.spec };
    Ok(CheckedSubmit { spec, ..checked })
}

/// A mapping as the machine takes it.
pub(crate) fn mapping(mapping: &v1::IdMapping) -> IdMapping {
    IdMapping {
        source: SegmentId(mapping.source_segment_id),
        target: SegmentId(mapping.target_segment_id),
        partition_id: mapping.partition_id,
    }
}

/// A name people read: short, and nothing that moves their terminal's cursor.
fn check_text(field: &str, text: &str, violations: &mut Violations) {
    violations.require(text.len() <= limits::NAME_BYTES_MAX, field, || {
        format!("has {} bytes: use at most {}", text.len(), limits::NAME_BYTES_MAX)
    });
    violations.require(!text.chars().any(char::is_control), field, || {
        format!("{} contains a control character: use plain text", echoed(text))
    });
}

fn check_uri(field: &str, uri: &str, what: &str, stores: &Stores, violations: &mut Violations) {
    if uri.is_empty() {
        violations.add(field, format!("is empty: name {what} by its URI, as in \"file:///data/tree\""));
    } else if uri.len() > limits::URI_BYTES_MAX {
        violations.add(field, format!("has {} bytes: use at most {}", uri.len(), limits::URI_BYTES_MAX));
    } else if let Err(error) = stores.check(uri) {
        violations.add(field, error.to_string());
    }
}

fn check_collection(target: &v1::TargetRef, violations: &mut Violations) {
    violations.require(target.collection_id > 0, "target.collection_id", || {
        format!("is {}: name the collection the targets belong to by its positive id", target.collection_id)
    });
}

/// What only verifies has a copy to compare, or the source alone.
fn check_verified(target: &v1::TargetRef, stores: &Stores, violations: &mut Violations) {
    if *target == v1::TargetRef::default() {
        return;
    }
    check_uri("target.uri", &target.uri, "the copy's own snapshot (`snapshot_uri` of its job)", stores, violations);
    violations.require(target.collection_id >= 0, "target.collection_id", || {
        format!("is {}: leave it out, or name the collection of the copy", target.collection_id)
    });
}

fn check_target(target: &v1::TargetRef, violations: &mut Violations) {
    let partitions: BTreeMap<i64, i64> = target.partition_ids.iter().map(|(from, to)| (*from, *to)).collect();
    violations.require(partitions.len() <= limits::PARTITIONS_PER_JOB_MAX, "target.partition_ids", || {
        format!("has {} entries: name at most {}", partitions.len(), limits::PARTITIONS_PER_JOB_MAX)
    });
    for (source, target) in partitions {
        // -1 is the partition of deletions that concern every partition of their collection.
        violations.require(source >= -1 && target > 0, "target.partition_ids", || {
            format!("maps {source} to {target}: target partitions are positive; leave out those that keep their id")
        });
    }
}

fn check_named_partitions(target: &v1::TargetRef, violations: &mut Violations) {
    let named = target.partitions.len();
    violations.require(named <= limits::PARTITIONS_PER_JOB_MAX, "target.partitions", || {
        format!("has {named} entries: name at most {}", limits::PARTITIONS_PER_JOB_MAX)
    });
    let ordered: BTreeMap<_, _> = target.partitions.iter().collect();
    for (source, target) in ordered {
        check_text("target.partitions", source, violations);
        violations.require(*target > 0, "target.partitions", || {
            format!("maps {} to {target}: target partitions have positive ids", echoed(source))
        });
    }
}

fn check_labels(labels: &HashMap<String, String>, violations: &mut Violations) {
    violations.require(labels.len() <= limits::LABELS_MAX, LABELS, || {
        format!("has {} entries: use at most {}", labels.len(), limits::LABELS_MAX)
    });
    let ordered: BTreeMap<_, _> = labels.iter().collect();
    for (key, value) in ordered {
        violations.require(!key.is_empty(), LABELS, || "has an empty key: name every label".to_owned());
        check_text(LABELS, key, violations);
        check_text(LABELS, value, violations);
    }
}

fn resolve(options: &v1::JobOptions, defaults: &Defaults, violations: &mut Violations) -> JobOptions {
    violations.require(options.timeout_ms == 0 || !options.no_timeout, "options.no_timeout", || {
        format!("is set together with timeout_ms {}: set one of the two", options.timeout_ms)
    });
    let segments = options.segments_per_task_max;
    violations.require(segments <= limits::SEGMENTS_PER_TASK_MAX, "options.segments_per_task_max", || {
        format!("is {segments}: use 1 to {}, or 0 for the default", limits::SEGMENTS_PER_TASK_MAX)
    });
    let attempts = options.attempts_max;
    violations.require(attempts <= limits::ATTEMPTS_MAX, "options.attempts_max", || {
        format!("is {attempts}: use 1 to {}, or 0 for the default", limits::ATTEMPTS_MAX)
    });
    let default_timeout = defaults.timeout.0.map(milliseconds);
    JobOptions {
        timeout_ms: match (options.no_timeout, options.timeout_ms) {
            (true, _) => None,
            (false, 0) => default_timeout,
            (false, timeout_ms) => Some(timeout_ms),
        },
        retention_ms: match options.retention_ms {
            0 => milliseconds(defaults.retention),
            retention_ms => retention_ms,
        },
        priority: priority("options.priority", options.priority, violations).unwrap_or(defaults.priority),
        segments_per_task_max: or_default(segments, defaults.segments_per_task),
        attempts_max: or_default(attempts, defaults.attempts),
        bandwidth_bytes_per_second: options.bandwidth_bytes_per_second,
        requests_per_second: options.requests_per_second,
        attempts_at_once_max: options.attempts_at_once_max,
        start_paused: options.start_paused,
        verify: wire::verify_mode(options.verify, "options.verify", violations),
        on_failure: failure_policy(options, violations),
        indexes: wire::indexes(&options.indexes, "options.indexes", violations),
        self_contained: options.self_contained,
        verify_only: options.verify_only,
    }
}

/// What both fields say of it, which may be set alone or alike.
fn failure_policy(options: &v1::JobOptions, violations: &mut Violations) -> FailurePolicy {
    let on_failure = wire::failure_policy(options.on_failure, "options.on_failure", violations);
    let on_exhausted = wire::exhausted_policy(options.on_exhausted, "options.on_exhausted", violations);
    if let (Some(one), Some(other)) = (on_failure, on_exhausted) {
        violations.require(one == other, "options.on_failure", || {
            "differs from options.on_exhausted, which means the same: set one of the two".to_owned()
        });
    }
    let policy = on_failure.or(on_exhausted).unwrap_or(FailurePolicy::Fail);
    violations.require(policy != FailurePolicy::Keep || !options.verify_only, "options.on_failure", || {
        "is FAILURE_POLICY_KEEP together with verify_only, which copies nothing to keep: leave out one of the two"
            .to_owned()
    });
    policy
}

fn or_default(given: u32, default: u32) -> u32 {
    if given == 0 { default } else { given }
}

/// A priority, if one is given.
pub(crate) fn priority(field: &str, given: Option<i32>, violations: &mut Violations) -> Option<u8> {
    let given = given?;
    let priority = u8::try_from(given).ok().filter(|priority| *priority <= limits::PRIORITY_MAX);
    violations.require(priority.is_some(), field, || format!("is {given}: use 0 to {}", limits::PRIORITY_MAX));
    priority
}

fn check_mappings(mappings: &[v1::IdMapping], violations: &mut Violations) {
    violations.require(mappings.len() as u64 <= limits::MAPPINGS_PER_JOB_MAX, "id_mappings", || {
        format!("has {} entries: use at most {} in one job", mappings.len(), limits::MAPPINGS_PER_JOB_MAX)
    });
    let mut sources = HashMap::with_capacity(mappings.len());
    let mut targets = HashMap::with_capacity(mappings.len());
    for (index, mapping) in mappings.iter().enumerate() {
        let (source, target) = (mapping.source_segment_id, mapping.target_segment_id);
        let mut twice = |name: &str, id: i64, first: usize| {
            let reason = || format!("is {id}, as in id_mappings[{first}]: name each {} once", name.replace('_', " "));
            violations.add_with(|| (format!("id_mappings[{index}].{name}_id"), reason()));
        };
        if source > 0
            && let Some(first) = sources.insert(source, index)
        {
            twice("source_segment", source, first);
        }
        if target > 0
            && let Some(first) = targets.insert(target, index)
        {
            twice("target_segment", target, first);
        }
        check_ids(index as u64, mapping, violations);
    }
}

/// The ids of one mapping, each for itself; `index` is its place in the request.
pub(crate) fn check_ids(index: u64, mapping: &v1::IdMapping, violations: &mut Violations) {
    let (source, target, partition) = (mapping.source_segment_id, mapping.target_segment_id, mapping.partition_id);
    let mut bad = |name: &str, id: i64, next: &str| {
        violations.add_with(|| (format!("id_mappings[{index}].{name}"), format!("is {id}: {next}")));
    };
    if source <= 0 {
        bad("source_segment_id", source, "name a segment by its positive id");
    }
    if target < 0 {
        bad("target_segment_id", target, "use a positive id, or 0 to have one chosen");
    }
    if partition < 0 {
        bad("partition_id", partition, "use a positive id, or 0 for target.partition_ids or the source's own");
    }
}
