//! Commands from a seed.

use super::Dice;
use ferry_machine::command::{Command, CopiedSegment, FailureKind, IdMapping, LeaseRef, SubmitPage, TaskResult};
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::row::LiveOptions;
use std::collections::BTreeMap;

/// How many kinds of commands there are; `samples` fails when one is forgotten.
pub(crate) const COMMAND_KINDS: usize = 25;

impl Dice {
    pub(crate) fn command(&mut self) -> Command {
        let kind = self.below(COMMAND_KINDS);
        self.command_of_kind(kind)
    }

    /// A command of each kind, by number.
    pub(crate) fn command_of_kind(&mut self, kind: usize) -> Command {
        let (job, worker, lease) = (JobId(self.id()), WorkerId(self.id()), self.lease());
        match kind {
            0 => Command::Bootstrap { cluster_id: self.number(), id_start: self.id() },
            1 => Command::Tick,
            2 => Command::SubmitPage(Box::new(self.page())),
            3 => Command::DropDraft { job },
            4 => Command::CreateTasks { job, tasks_created: self.number() },
            5 => Command::AssignTask(lease),
            6 => Command::ClaimTargets { lease, bytes_planned: self.number(), manifests: self.manifests() },
            7 => Command::ReportProgress { lease, bytes_copied: self.number() },
            8 => Command::ReportTask { lease, result: self.task_result(), writes_for_ms: self.number() },
            9 => Command::ReleaseTask { lease, writes_for_ms: self.number() },
            10 => Command::RegisterWorker {
                name: self.text(),
                incarnation: self.number(),
                slots: self.small(),
                labels: self.labels(),
                writes_for_ms: self.number(),
                late_writes_ms: self.number(),
                settled: self.settled(),
            },
            11 => Command::LoseWorker {
                worker,
                incarnation: self.number(),
                writes_for_ms: self.number(),
                late_writes_ms: self.number(),
                settled: self.settled(),
            },
            12 => Command::ReleaseWorker { worker, writes_for_ms: self.number(), late_writes_ms: self.number() },
            13 => Command::DrainWorker { worker, draining: self.coin() },
            14 => Command::CancelJob { job },
            15 => Command::FailJob { job, reason: self.text() },
            16 => Command::PauseJob { job, paused: self.coin() },
            17 => Command::UpdateJob {
                job,
                change: LiveOptions {
                    priority: self.option(|dice| dice.pick(&[0, 7, 100])),
                    bandwidth_bytes_per_second: self.option(Self::number),
                    requests_per_second: self.option(Self::small),
                    attempts_at_once_max: self.option(Self::small),
                },
            },
            18 => Command::SettleJob { job, settle: self.settle() },
            19 => Command::CollectJob { job },
            20 => Command::ExpireRequests { request_ids: (0..self.below(3)).map(|_| self.text()).collect() },
            21 => Command::ReserveIds { count: self.small() },
            22 => Command::ExpireEvents { before: self.time() },
            23 => Command::CleanUpJob { job },
            _ => Command::NoteDelivered { before: self.event_id() },
        }
    }

    fn settled(&mut self) -> BTreeMap<TaskId, u32> {
        (0..self.below(3)).map(|_| (TaskId(self.id()), self.small())).collect()
    }

    fn page(&mut self) -> SubmitPage {
        let mapping = |dice: &mut Self| IdMapping {
            source: SegmentId(dice.id()),
            target: SegmentId(dice.id()),
            partition_id: dice.id(),
        };
        SubmitPage {
            request_id: self.text(),
            hash_before: self.text().into_bytes(),
            request_hash: self.text().into_bytes(),
            spec: self.spec(),
            offset: self.number(),
            mappings: (0..self.below(4)).map(|_| mapping(self)).collect(),
        }
    }

    fn lease(&mut self) -> LeaseRef {
        LeaseRef {
            task: TaskId(self.id()),
            attempt: self.small(),
            worker: WorkerId(self.id()),
            incarnation: self.number(),
        }
    }

    fn task_result(&mut self) -> TaskResult {
        let kinds = [FailureKind::Permanent, FailureKind::Refused, FailureKind::Transient, FailureKind::GivenBack];
        let segment = |dice: &mut Self| CopiedSegment {
            target: SegmentId(dice.id()),
            partition_id: dice.id(),
            rows: dice.id(),
            bytes: dice.number(),
        };
        match self.below(5) {
            4 => TaskResult::Verified { segments: (0..self.below(3)).map(|_| segment(self)).collect() },
            0 => TaskResult::Copied { segments: (0..self.below(3)).map(|_| segment(self)).collect() },
            1 => TaskResult::CleanedUp,
            2 => TaskResult::Published,
            _ => TaskResult::Failed { kind: self.pick(&kinds), reason: self.text() },
        }
    }
}
