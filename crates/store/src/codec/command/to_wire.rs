//! Commands to messages: exhaustive, so that a new command cannot be forgotten.

use crate::codec::shapes::{event_id_to_wire, labels_to_wire, manifest_to_wire, settle_to_wire, spec_to_wire};
use ferry_machine::command::{Command, CopiedSegment, FailureKind, IdMapping, LeaseRef, SubmitPage, TaskResult};
use ferry_machine::id::{JobId, TaskId};
use ferry_machine::row::LiveOptions;
use ferry_proto::internal::v1 as wire;
use ferry_proto::internal::v1::command::Kind;
use ferry_proto::internal::v1::report_task::Result as WireResult;
use std::collections::BTreeMap;

pub(super) fn kind(command: &Command) -> Kind {
    match *command {
        Command::Bootstrap { cluster_id, id_start } => Kind::Bootstrap(wire::Bootstrap { cluster_id, id_start }),
        Command::Tick => Kind::Tick(wire::Nothing {}),
        Command::SubmitPage(ref page) => Kind::SubmitPage(submit_page(page)),
        Command::DropDraft { job } => Kind::DropDraft(job.0),
        Command::CreateTasks { job, tasks_created } => {
            Kind::CreateTasks(wire::CreateTasks { job: job.0, tasks_created })
        }
        Command::AssignTask(attempt) => Kind::AssignTask(lease(attempt)),
        Command::ClaimTargets { lease: attempt, bytes_planned, ref manifests } => {
            let manifests = manifests.iter().copied().map(manifest_to_wire).collect();
            Kind::ClaimTargets(wire::ClaimTargets { lease: Some(lease(attempt)), bytes_planned, manifests })
        }
        Command::ReportProgress { lease: attempt, bytes_copied } => {
            Kind::ReportProgress(wire::ReportProgress { lease: Some(lease(attempt)), bytes_copied })
        }
        Command::ReportTask { lease: attempt, ref result, writes_for_ms } => {
            let (lease, result) = (Some(lease(attempt)), Some(task_result(result)));
            Kind::ReportTask(wire::ReportTask { lease, result, writes_for_ms })
        }
        Command::ReleaseTask { lease: attempt, writes_for_ms } => {
            let wire::LeaseRef { task, attempt, worker, incarnation } = lease(attempt);
            Kind::ReleaseTask(wire::ReleaseTask { task, attempt, worker, incarnation, writes_for_ms })
        }
        Command::RegisterWorker {
            ref name,
            incarnation,
            slots,
            ref labels,
            writes_for_ms,
            late_writes_ms,
            ref settled,
        } => {
            let (name, labels, settled) = (name.clone(), labels_to_wire(labels.clone()), settled_to_wire(settled));
            let worker =
                wire::RegisterWorker { name, incarnation, slots, labels, writes_for_ms, late_writes_ms, settled };
            Kind::RegisterWorker(worker)
        }
        Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, ref settled } => {
            let (worker, settled) = (worker.0, settled_to_wire(settled));
            Kind::LoseWorker(wire::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled })
        }
        Command::ReleaseWorker { worker, writes_for_ms, late_writes_ms } => {
            Kind::ReleaseWorker(wire::ReleaseWorker { worker: worker.0, writes_for_ms, late_writes_ms })
        }
        Command::DrainWorker { worker, draining } => {
            Kind::DrainWorker(wire::DrainWorker { worker: worker.0, draining })
        }
        Command::CancelJob { job } => Kind::CancelJob(job.0),
        Command::CleanUpJob { job } => Kind::CleanUpJob(job.0),
        Command::FailJob { job, ref reason } => Kind::FailJob(wire::FailJob { job: job.0, reason: reason.clone() }),
        Command::PauseJob { job, paused } => Kind::PauseJob(wire::PauseJob { job: job.0, paused }),
        Command::UpdateJob { job, change } => Kind::UpdateJob(update_job(job, change)),
        Command::SettleJob { job, settle } => {
            Kind::SettleJob(wire::SettleJob { job: job.0, settle: Some(settle_to_wire(settle)) })
        }
        Command::CollectJob { job } => Kind::CollectJob(job.0),
        Command::ExpireRequests { ref request_ids } => {
            Kind::ExpireRequests(wire::ExpireRequests { request_ids: request_ids.clone() })
        }
        Command::ExpireEvents { before } => Kind::ExpireEvents(wire::ExpireEvents { before_ms: before.0 }),
        Command::NoteDelivered { before } => Kind::NoteDelivered(event_id_to_wire(before)),
        Command::ReserveIds { count } => Kind::ReserveIds(count),
    }
}

fn update_job(job: JobId, change: LiveOptions) -> wire::UpdateJob {
    wire::UpdateJob {
        job: job.0,
        priority: change.priority.map(u32::from),
        bandwidth_bytes_per_second: change.bandwidth_bytes_per_second,
        requests_per_second: change.requests_per_second,
        attempts_at_once_max: change.attempts_at_once_max,
    }
}

fn submit_page(page: &SubmitPage) -> wire::SubmitPage {
    let mapping = |mapping: &IdMapping| wire::IdMapping {
        source: mapping.source.0,
        target: mapping.target.0,
        partition_id: mapping.partition_id,
    };
    wire::SubmitPage {
        request_id: page.request_id.clone(),
        request_hash: page.request_hash.clone().into(),
        spec: Some(spec_to_wire(page.spec.clone())),
        offset: page.offset,
        mappings: page.mappings.iter().map(mapping).collect(),
        hash_before: page.hash_before.clone().into(),
    }
}

fn lease(lease: LeaseRef) -> wire::LeaseRef {
    wire::LeaseRef {
        task: lease.task.0,
        attempt: lease.attempt,
        worker: lease.worker.0,
        incarnation: lease.incarnation,
    }
}

fn task_result(result: &TaskResult) -> WireResult {
    match result {
        TaskResult::Copied { segments } => {
            WireResult::Copied(wire::CopiedResult { segments: segments.iter().map(copied_segment).collect() })
        }
        TaskResult::Published => WireResult::Published(wire::Nothing {}),
        TaskResult::CleanedUp => WireResult::CleanedUp(wire::Nothing {}),
        TaskResult::Verified { segments } => {
            WireResult::Verified(wire::CopiedResult { segments: segments.iter().map(copied_segment).collect() })
        }
        TaskResult::Failed { kind, reason } => {
            let kind = match kind {
                FailureKind::Permanent => wire::FailureKind::Permanent,
                FailureKind::Refused => wire::FailureKind::Refused,
                FailureKind::Transient => wire::FailureKind::Transient,
                FailureKind::GivenBack => wire::FailureKind::GivenBack,
                FailureKind::Outage => wire::FailureKind::Outage,
            };
            WireResult::Failed(wire::FailedResult { kind: kind.into(), reason: reason.clone() })
        }
    }
}

fn copied_segment(segment: &CopiedSegment) -> wire::CopiedSegment {
    wire::CopiedSegment {
        target: segment.target.0,
        partition_id: segment.partition_id,
        rows: segment.rows,
        bytes: segment.bytes,
    }
}

fn settled_to_wire(settled: &BTreeMap<TaskId, u32>) -> Vec<wire::SettledAttempt> {
    settled.iter().map(|(task, attempt)| wire::SettledAttempt { task: task.0, attempt: *attempt }).collect()
}
