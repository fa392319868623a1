//! Rows, keys and commands from a seed: the same seed gives the same value, and edge values come often.

use ferry_machine::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::key::{DueItem, Key, Stage};
use ferry_machine::row::{
    AttemptEnd, CleanUp, Cluster, Copied, EndedAttempt, EventLog, FailurePolicy, IndexKind, Indexes, Job, JobCounts,
    JobOptions, JobSpec, JobState, JobTotals, Lease, ManifestPin, Mapping, Published, PublishedSegment, Request, Row,
    Settle, Targets, Task, TaskCounts, TaskOutcome, TaskSegment, VerifyMode, Work, Worker, WorkerState,
};
use ferry_machine::time::{Stamp, Time};
use std::collections::BTreeMap;

mod commands;
mod events;

pub(crate) use commands::COMMAND_KINDS;

/// A source of values.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next of the splitmix64 sequence.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `choices` numbers from zero on.
    pub(crate) fn below(&mut self, choices: usize) -> usize {
        usize::try_from(self.bits() % choices as u64).expect("it is below a usize")
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    fn number(&mut self) -> u64 {
        let random = self.bits();
        self.pick(&[0, 1, 127, 128, 300, u64::MAX, random, random >> 40])
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number() & 0xFFFF_FFFF).expect("it has 32 bits")
    }

    fn id(&mut self) -> i64 {
        let random = self.bits().cast_signed();
        self.pick(&[0, 1, -1, 255, 256, 257, i64::MIN, i64::MAX, random])
    }

    fn text(&mut self) -> String {
        let letters = ["\0", "\u{1}", "a", "b", "\u{7f}", "ü", "\u{ffff}", "😀"];
        (0..self.below(5)).map(|_| self.pick(&letters)).collect()
    }

    fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.coin().then(|| value(self))
    }

    fn time(&mut self) -> Time {
        Time(self.number())
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        Stamp { at: self.time(), wall_ms: self.number() }
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        (0..self.below(3)).map(|_| (self.text(), self.text())).collect()
    }

    pub(crate) fn key(&mut self) -> Key {
        match self.below(15) {
            0 => Key::Cluster,
            1 => Key::Job(JobId(self.id())),
            2 => Key::Task(TaskId(self.id())),
            3 => Key::Targets(SegmentId(self.id())),
            4 => Key::JobTargets(JobId(self.id()), SegmentId(self.id())),
            5 => Key::Request(self.text()),
            6 => Key::Worker(WorkerId(self.id())),
            7 => Key::WorkerName(self.text()),
            8 => Key::Stage(self.pick(&[Stage::CreatingTasks, Stage::Settling, Stage::Collecting]), JobId(self.id())),
            9 => {
                let item = if self.coin() { DueItem::Job(JobId(self.id())) } else { DueItem::Request(self.text()) };
                Key::Due(self.time(), item)
            }
            10 => Key::Dispatch(self.number(), JobId(self.id())),
            11 => Key::Queue(JobId(self.id()), self.time(), TaskId(self.id())),
            12 => Key::Assignment(WorkerId(self.id()), TaskId(self.id())),
            13 => Key::LostWorker(WorkerId(self.id())),
            _ => Key::Event(self.event_id()),
        }
    }

    /// A row that can lie at a key.
    pub(crate) fn row(&mut self, key: &Key) -> Row {
        match key {
            Key::Cluster => Row::Cluster(self.cluster()),
            Key::Job(_) => Row::Job(Box::new(self.job())),
            Key::Task(_) => Row::Task(Box::new(self.task())),
            Key::Targets(_) => Row::Targets(self.targets()),
            Key::JobTargets(..) => Row::Mappings((0..=self.below(3)).map(|_| self.mapping()).collect()),
            Key::Request(_) => Row::Request(Request {
                hash: self.text().into_bytes(),
                job: JobId(self.id()),
                expires_at: self.option(Self::time),
            }),
            Key::Worker(_) => Row::Worker(Box::new(self.worker())),
            Key::WorkerName(_) => Row::WorkerName(WorkerId(self.id())),
            Key::Stage(..)
            | Key::Due(..)
            | Key::Dispatch(..)
            | Key::Queue(..)
            | Key::Assignment(..)
            | Key::LostWorker(_) => Row::Index,
            Key::Event(_) => Row::Event(Box::new(self.event())),
        }
    }

    fn cluster(&mut self) -> Cluster {
        Cluster {
            cluster_id: self.number(),
            id_start: self.id(),
            next_id: self.id(),
            now: self.time(),
            pass: self.number(),
            jobs: JobCounts {
                draft: self.number(),
                pending: self.number(),
                executing: self.number(),
                completed: self.number(),
                failed: self.number(),
                canceled: self.number(),
            },
            tasks: TaskCounts {
                pending: self.number(),
                in_progress: self.number(),
                completed: self.number(),
                failed: self.number(),
            },
            workers: self.number(),
            events: EventLog {
                kept: self.number(),
                first: self.event_id(),
                last: self.event_id(),
                delivered: self.event_id(),
            },
        }
    }

    fn event_id(&mut self) -> EventId {
        EventId { revision: self.number(), ordinal: self.small() }
    }

    fn job(&mut self) -> Job {
        Job {
            id: JobId(self.id()),
            request_id: self.text(),
            spec: self.spec(),
            state: self.job_state(),
            paused: self.coin(),
            paused_by: self.option(|dice| TaskId(dice.id())),
            failed_by: self.option(|dice| TaskId(dice.id())),
            submitted: self.stamp(),
            started: self.option(Self::stamp),
            first_task: TaskId(self.id()),
            first_build_id: self.id(),
            snapshot_id: self.id(),
            mappings: self.number(),
            counts: JobTotals {
                tasks_created: self.number(),
                tasks_queued: self.number(),
                tasks_leased: self.number(),
                tasks_completed: self.number(),
                tasks_failed: self.number(),
                segments_copied: self.number(),
                bytes_planned: self.number(),
                bytes_copied: self.number(),
                rows: self.number(),
            },
            task_cursor: SegmentId(self.id()),
            settle: self.settle(),
            clean_up_remaining: self.number(),
            clean_up_left_over: self.number(),
            quiet_at: self.time(),
            pass: self.number(),
        }
    }

    fn spec(&mut self) -> JobSpec {
        JobSpec {
            name: self.text(),
            source_uri: self.text(),
            metadata_bytes: self.number(),
            metadata_crc32c: self.small(),
            target_uri: self.text(),
            collection_id: self.id(),
            partition_ids: (0..self.below(3)).map(|_| (self.id(), self.id())).collect(),
            segments: self.number(),
            build_ids: self.small(),
            first_build_id: self.id(),
            snapshot_id: self.id(),
            options: JobOptions {
                timeout_ms: self.option(Self::number),
                retention_ms: self.number(),
                priority: self.pick(&[0, 50, 100, 255]),
                segments_per_task_max: self.small(),
                attempts_max: self.small(),
                bandwidth_bytes_per_second: self.number(),
                requests_per_second: self.small(),
                attempts_at_once_max: self.small(),
                start_paused: self.coin(),
                verify: self.pick(&[VerifyMode::Standard, VerifyMode::Full]),
                on_failure: self.pick(&[FailurePolicy::Fail, FailurePolicy::Pause, FailurePolicy::Keep]),
                indexes: self.indexes(),
                self_contained: self.coin(),
                verify_only: self.coin(),
            },
            labels: self.labels(),
        }
    }

    fn indexes(&mut self) -> Indexes {
        let kinds = [IndexKind::Vector, IndexKind::Scalar, IndexKind::Text, IndexKind::Json];
        if self.coin() { Indexes::All } else { Indexes::Only((0..self.below(4)).map(|_| self.pick(&kinds)).collect()) }
    }

    fn job_state(&mut self) -> JobState {
        match self.below(7) {
            0 => JobState::Draft { expires_at: self.time() },
            1 => JobState::Pending,
            2 => JobState::Executing,
            3 => JobState::Completed { ended: self.stamp() },
            4 => JobState::Failed { ended: self.stamp(), reason: self.text() },
            5 => JobState::Canceled { ended: self.stamp() },
            _ => JobState::Collecting,
        }
    }

    fn settle(&mut self) -> Settle {
        match self.below(5) {
            4 => Settle::Kept,
            0 => Settle::Segments { after: SegmentId(self.id()) },
            1 => Settle::Tasks { after: TaskId(self.id()) },
            2 => Settle::Metadata,
            _ => Settle::Done,
        }
    }

    fn mapping(&mut self) -> Mapping {
        Mapping { source: SegmentId(self.id()), partition_id: self.id() }
    }

    fn copied(&mut self) -> Copied {
        Copied { partition_id: self.id(), rows: self.id(), bytes: self.number() }
    }

    fn task_segment(&mut self) -> TaskSegment {
        TaskSegment { target: SegmentId(self.id()), mapping: self.mapping(), copied: self.option(Self::copied) }
    }

    fn task(&mut self) -> Task {
        Task {
            id: TaskId(self.id()),
            job: JobId(self.id()),
            segments: (0..self.below(4)).map(|_| self.task_segment()).collect(),
            verifies: self.coin(),
            outcome: match self.below(3) {
                0 => TaskOutcome::Open,
                1 => TaskOutcome::Completed { ended: self.stamp() },
                _ => TaskOutcome::Failed { ended: self.stamp(), reason: self.text() },
            },
            lease: self.option(|dice| Lease {
                worker: WorkerId(dice.id()),
                incarnation: dice.number(),
                attempt: dice.small(),
                since: dice.stamp(),
            }),
            attempt: self.small(),
            failures: self.small(),
            claimed: self.coin(),
            queued_at: self.option(Self::time),
            refused_by: self.option(|dice| WorkerId(dice.id())),
            last_error: self.text(),
            bytes_planned: self.number(),
            bytes_copied: self.number(),
            created: self.stamp(),
            started: self.option(Self::stamp),
            late_until: self.time(),
            late_ends: self.small(),
            clean_up: self.pick(&[CleanUp::NotNeeded, CleanUp::Due, CleanUp::Done, CleanUp::LeftOver]),
            attempts: (0..self.below(3)).map(|_| self.ended_attempt()).collect(),
            manifests: self.manifests(),
        }
    }

    fn manifests(&mut self) -> Vec<ManifestPin> {
        let pin = |dice: &mut Self| ManifestPin { size_bytes: dice.number(), crc32c: dice.small() };
        (0..self.below(3)).map(|_| pin(self)).collect()
    }

    fn ended_attempt(&mut self) -> EndedAttempt {
        use AttemptEnd::{
            CleanedUp, Copied, GivenBack, Lost, Permanent, Published, Refused, Stopped, Transient, Verified,
        };
        EndedAttempt {
            number: self.small(),
            worker: WorkerId(self.id()),
            work: self.pick(&[Work::Copy, Work::Publish, Work::CleanUp, Work::Verify]),
            started: self.stamp(),
            ended: self.stamp(),
            end: self.pick(&[
                Copied, Published, CleanedUp, Permanent, Refused, Transient, GivenBack, Stopped, Lost, Verified,
            ]),
            error: self.text(),
        }
    }

    fn targets(&mut self) -> Targets {
        let segment = |dice: &mut Self| PublishedSegment { source: SegmentId(dice.id()), copied: dice.copied() };
        let published = |dice: &mut Self| Published {
            collection_id: dice.id(),
            segments: (0..=dice.below(3)).map(|_| segment(dice)).collect(),
        };
        Targets { job: JobId(self.id()), first: SegmentId(self.id()), published: self.option(published) }
    }

    fn worker(&mut self) -> Worker {
        Worker {
            id: WorkerId(self.id()),
            name: self.text(),
            incarnation: self.number(),
            slots: self.small(),
            leased: self.small(),
            labels: self.labels(),
            state: self.pick(&[WorkerState::Active, WorkerState::Returning, WorkerState::Lost]),
            draining: self.coin(),
            registered: self.stamp(),
        }
    }
}
