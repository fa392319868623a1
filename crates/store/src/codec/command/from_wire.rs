//! Messages to commands: whatever this version does not know is an error, for a replica that skipped a command would
//! part from the others.

use crate::codec::CodecError;
use crate::codec::shapes::{
    event_id_from_wire, labels_from_wire, manifest_from_wire, narrow, required, settle_from_wire, spec_from_wire,
};
use ferry_machine::command::{Command, CopiedSegment, FailureKind, IdMapping, LeaseRef, SubmitPage, TaskResult};
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::row::LiveOptions;
use ferry_machine::time::Time;
use ferry_proto::internal::v1 as wire;
use ferry_proto::internal::v1::command::Kind;
use ferry_proto::internal::v1::report_task::Result as WireResult;
use std::collections::BTreeMap;

const WHAT: &str = "command";

pub(super) fn command(kind: Kind) -> Result<Command, CodecError> {
    Ok(match kind {
        Kind::Bootstrap(wire::Bootstrap { cluster_id, id_start }) => Command::Bootstrap { cluster_id, id_start },
        Kind::Tick(wire::Nothing {}) => Command::Tick,
        Kind::SubmitPage(page) => Command::SubmitPage(Box::new(submit_page(page)?)),
        Kind::DropDraft(job) => Command::DropDraft { job: JobId(job) },
        Kind::CreateTasks(wire::CreateTasks { job, tasks_created }) => {
            Command::CreateTasks { job: JobId(job), tasks_created }
        }
        Kind::AssignTask(attempt) => Command::AssignTask(lease(Some(attempt))?),
        Kind::ClaimTargets(wire::ClaimTargets { lease: attempt, bytes_planned, manifests }) => {
            let manifests = manifests.into_iter().map(manifest_from_wire).collect();
            Command::ClaimTargets { lease: lease(attempt)?, bytes_planned, manifests }
        }
        Kind::ReportProgress(wire::ReportProgress { lease: attempt, bytes_copied }) => {
            Command::ReportProgress { lease: lease(attempt)?, bytes_copied }
        }
        Kind::ReportTask(wire::ReportTask { lease: attempt, result, writes_for_ms }) => {
            let result = task_result(required(result, WHAT, "result")?)?;
            Command::ReportTask { lease: lease(attempt)?, result, writes_for_ms }
        }
        Kind::ReleaseTask(wire::ReleaseTask { task, attempt, worker, incarnation, writes_for_ms }) => {
            let attempt = wire::LeaseRef { task, attempt, worker, incarnation };
            Command::ReleaseTask { lease: lease(Some(attempt))?, writes_for_ms }
        }
        Kind::RegisterWorker(worker) => {
            let wire::RegisterWorker { name, incarnation, slots, labels, writes_for_ms, late_writes_ms, settled } =
                worker;
            let settled = settled_from_wire(settled);
            let labels = labels_from_wire(labels);
            Command::RegisterWorker { name, incarnation, slots, labels, writes_for_ms, late_writes_ms, settled }
        }
        Kind::LoseWorker(wire::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled }) => {
            let (worker, settled) = (WorkerId(worker), settled_from_wire(settled));
            Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled }
        }
        Kind::ReleaseWorker(wire::ReleaseWorker { worker, writes_for_ms, late_writes_ms }) => {
            Command::ReleaseWorker { worker: WorkerId(worker), writes_for_ms, late_writes_ms }
        }
        Kind::DrainWorker(wire::DrainWorker { worker, draining }) => {
            Command::DrainWorker { worker: WorkerId(worker), draining }
        }
        Kind::CancelJob(job) => Command::CancelJob { job: JobId(job) },
        Kind::CleanUpJob(job) => Command::CleanUpJob { job: JobId(job) },
        Kind::FailJob(wire::FailJob { job, reason }) => Command::FailJob { job: JobId(job), reason },
        Kind::PauseJob(wire::PauseJob { job, paused }) => Command::PauseJob { job: JobId(job), paused },
        Kind::UpdateJob(update) => {
            let priority = update.priority.map(|priority| narrow(priority, WHAT, "priority")).transpose()?;
            let change = LiveOptions {
                priority,
                bandwidth_bytes_per_second: update.bandwidth_bytes_per_second,
                requests_per_second: update.requests_per_second,
                attempts_at_once_max: update.attempts_at_once_max,
            };
            Command::UpdateJob { job: JobId(update.job), change }
        }
        Kind::SettleJob(wire::SettleJob { job, settle }) => Command::SettleJob {
            job: JobId(job),
            settle: settle_from_wire(required(settle, WHAT, "progress of settling")?)?,
        },
        Kind::CollectJob(job) => Command::CollectJob { job: JobId(job) },
        Kind::ExpireRequests(wire::ExpireRequests { request_ids }) => Command::ExpireRequests { request_ids },
        Kind::ExpireEvents(wire::ExpireEvents { before_ms }) => Command::ExpireEvents { before: Time(before_ms) },
        Kind::NoteDelivered(id) => Command::NoteDelivered { before: event_id_from_wire(id) },
        Kind::ReserveIds(count) => Command::ReserveIds { count },
    })
}

fn submit_page(page: wire::SubmitPage) -> Result<SubmitPage, CodecError> {
    let mapping = |mapping: wire::IdMapping| IdMapping {
        source: SegmentId(mapping.source),
        target: SegmentId(mapping.target),
        partition_id: mapping.partition_id,
    };
    Ok(SubmitPage {
        request_id: page.request_id,
        hash_before: page.hash_before.into(),
        request_hash: page.request_hash.into(),
        spec: spec_from_wire(required(page.spec, WHAT, "spec")?)?,
        offset: page.offset,
        mappings: page.mappings.into_iter().map(mapping).collect(),
    })
}

fn lease(lease: Option<wire::LeaseRef>) -> Result<LeaseRef, CodecError> {
    let wire::LeaseRef { task, attempt, worker, incarnation } = required(lease, WHAT, "lease")?;
    Ok(LeaseRef { task: TaskId(task), attempt, worker: WorkerId(worker), incarnation })
}

fn task_result(result: WireResult) -> Result<TaskResult, CodecError> {
    Ok(match result {
        WireResult::Copied(wire::CopiedResult { segments }) => {
            TaskResult::Copied { segments: segments.into_iter().map(copied_segment).collect() }
        }
        WireResult::Published(wire::Nothing {}) => TaskResult::Published,
        WireResult::CleanedUp(wire::Nothing {}) => TaskResult::CleanedUp,
        WireResult::Verified(wire::CopiedResult { segments }) => {
            TaskResult::Verified { segments: segments.into_iter().map(copied_segment).collect() }
        }
        WireResult::Failed(wire::FailedResult { kind, reason }) => {
            let kind = match wire::FailureKind::try_from(kind) {
                Ok(wire::FailureKind::Permanent) => FailureKind::Permanent,
                Ok(wire::FailureKind::Refused) => FailureKind::Refused,
                Ok(wire::FailureKind::Transient) => FailureKind::Transient,
                Ok(wire::FailureKind::GivenBack) => FailureKind::GivenBack,
                Ok(wire::FailureKind::Outage) => FailureKind::Outage,
                Ok(wire::FailureKind::Unspecified) | Err(_) => {
                    return Err(CodecError::Field { what: WHAT, field: "kind of failure" });
                }
            };
            TaskResult::Failed { kind, reason }
        }
    })
}

fn copied_segment(segment: wire::CopiedSegment) -> CopiedSegment {
    CopiedSegment {
        target: SegmentId(segment.target),
        partition_id: segment.partition_id,
        rows: segment.rows,
        bytes: segment.bytes,
    }
}

fn settled_from_wire(settled: Vec<wire::SettledAttempt>) -> BTreeMap<TaskId, u32> {
    settled.into_iter().map(|wire::SettledAttempt { task, attempt }| (TaskId(task), attempt)).collect()
}
