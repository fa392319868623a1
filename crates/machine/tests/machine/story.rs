//! A story: a cluster in memory, its leader, and workers that do as they are told; every command is checked after.

use crate::counted::Counted;
use ferry_machine::command::{Command, CopiedSegment, FailureKind, IdMapping, LeaseRef, SubmitPage, TaskResult};
use ferry_machine::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::plan::{Connected, Explanation, Plan, Policy};
use ferry_machine::row::{Job, JobSpec, ManifestPin, Row, Task};
use ferry_machine::tables::Memory;
use ferry_machine::time::{Stamp, Time};
use ferry_machine::view::{self, JobStatus, SegmentState, State};
use ferry_machine::{apply, check, plan};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// Where the cluster's own ids begin.
pub(crate) const ID_START: i64 = 1_000;
/// How long a lost worker may still write.
pub(crate) const WRITES_FOR_MS: u64 = 20_000;
/// How long a remote store may carry out what nobody waits for any more.
pub(crate) const LATE_WRITES_MS: u64 = 600_000;
/// Bytes and rows of each copied segment.
pub(crate) const SEGMENT_BYTES: u64 = 4_096;
pub(crate) const SEGMENT_ROWS: i64 = 100;
/// Bytes of each manifest.
const MANIFEST_BYTES: u64 = 800;

pub(crate) struct Story {
    pub(crate) rows: Memory,
    pub(crate) now_ms: u64,
    pub(crate) connected: BTreeMap<WorkerId, u64>,
    /// Off for stories of thousands of rows, which check at chosen moments.
    pub(crate) checks_always: bool,
    /// The most rows that one command has touched.
    pub(crate) rows_touched_max: usize,
    /// The most times that one command has looked at a row, the same one again included.
    pub(crate) looks_max: usize,
    /// Log index of the last entry; each is one command.
    pub(crate) revision: u64,
    log: String,
}

impl Story {
    pub(crate) fn new() -> Self {
        let mut story = Self {
            rows: Memory::default(),
            now_ms: 0,
            connected: BTreeMap::new(),
            checks_always: true,
            rows_touched_max: 0,
            looks_max: 0,
            revision: 0,
            log: String::new(),
        };
        story.ok(Command::Bootstrap { cluster_id: 7, id_start: ID_START });
        story
    }

    /// Applies a command as the log would.
    pub(crate) fn apply(&mut self, command: &Command) -> Result<Outcome, Rejection> {
        let now = Stamp { at: Time(self.now_ms), wall_ms: 1_700_000_000_000 + self.now_ms };
        self.revision += 1;
        let mut counted = Counted { rows: &mut self.rows, touched: RefCell::default(), looks: Cell::default() };
        let answer = apply(&mut counted, command, now, self.revision);
        self.looks_max = self.looks_max.max(counted.looks.get());
        let touched = counted.touched.into_inner().len();
        self.rows_touched_max = self.rows_touched_max.max(touched);
        assert!(touched <= limits::ROWS_PER_COMMAND_MAX, "{touched} rows for {command:?}");
        let told = match &answer {
            Ok(outcome) => format!("{outcome:?}"),
            Err(rejection) => format!("refused: {rejection}"),
        };
        self.log += &format!("{:>6} ms  {}\n           {told}\n", self.now_ms, brief(command));
        for (id, event) in view::events(&self.rows, EventId::at(self.revision), 100) {
            self.log += &format!("           event {id}: job {} {:?}\n", event.job, event.transition);
        }
        if self.checks_always {
            assert_eq!(check(&self.rows), [], "after {command:?}");
        }
        answer
    }

    /// A command that must be applied.
    #[expect(clippy::needless_pass_by_value, reason = "stories make their commands in place")]
    pub(crate) fn ok(&mut self, command: Command) -> Outcome {
        self.apply(&command).unwrap_or_else(|rejection| panic!("{command:?}: {rejection}"))
    }

    /// A command that must be refused, and must leave nothing but the clock.
    #[expect(clippy::needless_pass_by_value, reason = "stories make their commands in place")]
    pub(crate) fn refused(&mut self, command: Command) -> Rejection {
        let before = self.rows.clone();
        let rejection = self.apply(&command).expect_err("the command is refused");
        let without_clock = |rows: &Memory| -> Vec<(Key, Row)> {
            rows.rows().filter(|(key, _)| **key != Key::Cluster).map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        assert_eq!(without_clock(&before), without_clock(&self.rows));
        rejection
    }

    pub(crate) fn wait(&mut self, duration_ms: u64) {
        self.now_ms += duration_ms;
    }

    /// What has been told since the last call.
    pub(crate) fn log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }

    pub(crate) fn worker(&mut self, name: &str, slots: u32) -> WorkerId {
        self.register(name, 1, slots)
    }

    pub(crate) fn register(&mut self, name: &str, incarnation: u64, slots: u32) -> WorkerId {
        let (name, labels) = (name.to_owned(), BTreeMap::new());
        let (writes_for_ms, late_writes_ms) = (WRITES_FOR_MS, LATE_WRITES_MS);
        let settled = BTreeMap::new();
        let register =
            Command::RegisterWorker { name, incarnation, slots, labels, writes_for_ms, late_writes_ms, settled };
        let Outcome::Worker(id) = self.ok(register) else { panic!("a registration answers with the worker") };
        self.connected.insert(id, incarnation);
        id
    }

    pub(crate) fn lose(&mut self, worker: WorkerId) {
        self.lose_settled(worker, &[]);
    }

    /// The worker is lost, and nothing of these attempts can come late.
    pub(crate) fn lose_settled(&mut self, worker: WorkerId, settled: &[LeaseRef]) {
        let incarnation = self.connected.remove(&worker).expect("the worker is connected");
        let (writes_for_ms, late_writes_ms) = (WRITES_FOR_MS, LATE_WRITES_MS);
        let settled = settled.iter().map(|lease| (lease.task, lease.attempt)).collect();
        self.ok(Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled });
    }

    /// Submits a job in as many pages as it takes; targets are chosen by the cluster.
    pub(crate) fn submit(&mut self, request: &str, segments: u64) -> JobId {
        self.submit_with(request, segments, |_| {})
    }

    pub(crate) fn submit_with(&mut self, request: &str, segments: u64, change: impl Fn(&mut JobSpec)) -> JobId {
        let mappings: Vec<_> = (1..=segments).map(|source| mapping(source.cast_signed(), 0)).collect();
        self.submit_mappings(request, &mappings, change)
    }

    /// The first of some ids that nobody has.
    pub(crate) fn reserve(&mut self, count: u64) -> i64 {
        let count = count.try_into().expect("not that many");
        let Outcome::Ids { first, .. } = self.ok(Command::ReserveIds { count }) else { panic!("ids are reserved") };
        first
    }

    pub(crate) fn submit_mappings(
        &mut self,
        request: &str,
        mappings: &[IdMapping],
        change: impl Fn(&mut JobSpec),
    ) -> JobId {
        let mut pages: Vec<_> = mappings.chunks(limits::MAPPINGS_PER_PAGE_MAX).collect();
        if pages.is_empty() {
            pages.push(&[]);
        }
        let mut offset = 0;
        let mut id = JobId(0);
        for mappings_of_page in pages {
            let mut page = page(request, offset, mappings.len() as u64, mappings_of_page);
            change(&mut page.spec);
            let Outcome::Page { job, mappings, .. } = self.ok(submit(page)) else { panic!("a page answers as one") };
            (offset, id) = (mappings, job);
        }
        id
    }

    fn connected(&self) -> Vec<Connected> {
        let free = |id: &WorkerId| {
            let worker = view::worker(&self.rows, *id).expect("a connected worker has a row");
            worker.slots.saturating_sub(worker.leased)
        };
        self.connected
            .iter()
            .map(|(worker, incarnation)| Connected {
                worker: *worker,
                incarnation: *incarnation,
                slots_free: free(worker),
            })
            .collect()
    }

    pub(crate) fn plan(&self) -> Plan {
        let policy = Policy { writes_for_ms: WRITES_FOR_MS, late_writes_ms: LATE_WRITES_MS, ..Policy::default() };
        plan(&self.rows, Time(self.now_ms), &policy, &self.connected())
    }

    pub(crate) fn explain(&self, job: JobId) -> String {
        let explained = ferry_machine::plan::explain(&self.rows, job, Time(self.now_ms), &self.connected());
        explained.map_or_else(|| "there is no such job".to_owned(), |explanation| explanation.sentence())
    }

    /// The same for programs.
    pub(crate) fn explained(&self, job: JobId) -> Explanation {
        let explained = ferry_machine::plan::explain(&self.rows, job, Time(self.now_ms), &self.connected());
        explained.expect("the job can be seen")
    }

    /// One step of the leader: everything of one plan; answers with the attempts it began.
    pub(crate) fn lead_once(&mut self) -> Vec<LeaseRef> {
        let plan = self.plan();
        for command in plan.commands {
            self.ok(command);
        }
        for lease in &plan.assignments {
            self.ok(Command::AssignTask(*lease));
        }
        plan.assignments
    }

    /// The leader until nothing is left to propose.
    pub(crate) fn lead(&mut self) -> Vec<LeaseRef> {
        let mut begun = Vec::new();
        while !self.plan().commands.is_empty() || !self.plan().assignments.is_empty() {
            begun.extend(self.lead_once());
        }
        begun
    }

    pub(crate) fn claim(&mut self, lease: LeaseRef) {
        let claim = self.claiming(lease);
        self.ok(claim);
    }

    /// The claim of an attempt that found its targets free and its manifests as they were made.
    pub(crate) fn claiming(&self, lease: LeaseRef) -> Command {
        let task = self.task(lease.task);
        let bytes_planned = task.segments.len() as u64 * SEGMENT_BYTES;
        let manifests = view::task_mappings(&task).map(|mapping| manifest(mapping.source)).collect();
        Command::ClaimTargets { lease, bytes_planned, manifests }
    }

    /// The report of an attempt that copied everything, or of the publication that it is published.
    pub(crate) fn copied(&self, lease: LeaseRef) -> Command {
        let segments = self.segments_of(lease.task);
        let result = if segments.is_empty() { TaskResult::Published } else { TaskResult::Copied { segments } };
        Command::ReportTask { lease, result, writes_for_ms: 0 }
    }

    /// A whole attempt that succeeds.
    pub(crate) fn copy(&mut self, lease: LeaseRef) -> Outcome {
        self.claim(lease);
        let report = self.copied(lease);
        self.ok(report)
    }

    pub(crate) fn fail(&mut self, lease: LeaseRef, kind: FailureKind, reason: &str) -> Outcome {
        let result = TaskResult::Failed { kind, reason: reason.to_owned() };
        self.ok(Command::ReportTask { lease, result, writes_for_ms: 0 })
    }

    pub(crate) fn clean(&mut self, lease: LeaseRef) -> Outcome {
        self.ok(Command::ReportTask { lease, result: TaskResult::CleanedUp, writes_for_ms: 0 })
    }

    fn segments_of(&self, task: TaskId) -> Vec<CopiedSegment> {
        let copied = |mapping: IdMapping| CopiedSegment {
            target: mapping.target,
            partition_id: mapping.partition_id.max(1),
            rows: SEGMENT_ROWS,
            bytes: SEGMENT_BYTES,
        };
        view::task_mappings(&self.task(task)).map(copied).collect()
    }

    /// The leader and its workers until the job has ended.
    pub(crate) fn run(&mut self, job: JobId) -> State {
        loop {
            let begun = self.lead();
            if let Some(state) = self.state(job).filter(|state| state.terminal()) {
                return state;
            }
            assert!(!begun.is_empty(), "the job does not move: {}", self.explain(job));
            for lease in begun {
                self.copy(lease);
            }
        }
    }

    pub(crate) fn state(&self, job: JobId) -> Option<State> {
        view::job(&self.rows, job).and_then(|job| view::state(&job))
    }

    pub(crate) fn job(&self, job: JobId) -> Job {
        view::job(&self.rows, job).expect("the job can be seen")
    }

    pub(crate) fn status(&self, job: JobId) -> JobStatus {
        view::status(&self.job(job)).expect("the job can be seen")
    }

    pub(crate) fn task(&self, task: TaskId) -> Task {
        view::task(&self.rows, task).expect("the task can be seen").1
    }

    pub(crate) fn tasks(&self, job: JobId) -> Vec<Task> {
        view::list_tasks(&self.rows, &self.job(job), TaskId(0), 100_000).items
    }

    /// States of the targets of a job, as its readers see them: in its list and, unless another job has them now, alone.
    pub(crate) fn segment_states(&self, job: JobId) -> BTreeSet<&'static str> {
        let page = view::list_job_segments(&self.rows, &self.job(job), SegmentId(0), 100_000);
        for listed in &page.items {
            let alone = view::segment(&self.rows, listed.id).filter(|alone| alone.job == job);
            assert!(alone.is_none_or(|alone| alone.state == listed.state), "{listed:?}");
        }
        let name = |state: SegmentState| match state {
            SegmentState::Importing => "importing",
            SegmentState::Flushed => "flushed",
            SegmentState::Dropped => "dropped",
        };
        page.items.into_iter().map(|segment| name(segment.state)).collect()
    }

    /// How many rows there are but the cluster's own, those of workers, and events.
    pub(crate) fn rows_of_jobs(&self) -> usize {
        let others = |key: &Key| matches!(key, Key::Cluster | Key::Worker(_) | Key::WorkerName(_) | Key::Event(_));
        self.rows.rows().filter(|(key, _)| !others(key)).count()
    }
}

/// The manifest of a source segment; each has another.
fn manifest(source: SegmentId) -> ManifestPin {
    ManifestPin { size_bytes: MANIFEST_BYTES, crc32c: u32::try_from(source.0).unwrap_or_default() }
}

pub(crate) fn mapping(source: i64, target: i64) -> IdMapping {
    IdMapping { source: SegmentId(source), target: SegmentId(target), partition_id: 0 }
}

pub(crate) fn spec(segments: u64) -> JobSpec {
    JobSpec {
        name: "a job".to_owned(),
        source_uri: "file:///source/metadata.json".to_owned(),
        target_uri: "file:///target".to_owned(),
        collection_id: 200,
        segments,
        ..JobSpec::default()
    }
}

pub(crate) fn page(request: &str, offset: u64, segments: u64, mappings: &[IdMapping]) -> SubmitPage {
    SubmitPage {
        request_id: request.to_owned(),
        hash_before: request.as_bytes().to_vec(),
        request_hash: request.as_bytes().to_vec(),
        spec: spec(segments),
        offset,
        mappings: mappings.to_vec(),
    }
}

pub(crate) fn submit(page: SubmitPage) -> Command {
    Command::SubmitPage(Box::new(page))
}

/// A command in one line.
fn brief(command: &Command) -> String {
    match command {
        Command::SubmitPage(page) => {
            format!("SubmitPage {:?} {}..{}", page.request_id, page.offset, page.offset + page.mappings.len() as u64)
        }
        Command::RegisterWorker { name, incarnation, slots, .. } => {
            format!("RegisterWorker {name:?} incarnation {incarnation}, {slots} slots")
        }
        other => format!("{other:?}"),
    }
}
