//! What must hold after every entry, write and answer, whatever went wrong; the first contradiction ends a simulation.
//!
//! The oracle sees everything at once: the rows as committed, every worker's clock, every object. No part of the cluster
//! asks it for anything.

use crate::consensus::{Answer, Proposal, Purpose};
use crate::record;
use crate::run::{Phase, Write};
use crate::settings::{LEASE_MS, REQUEST_TIMEOUT_MS};
use crate::store::{Owner, metadata, original};
use crate::worker::Process;
use crate::world::World;
use ferry_machine::check;
use ferry_machine::command::{Command, LeaseRef, TaskResult};
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::outcome::Outcome;
use ferry_machine::row::{CleanUp, Job, JobState, Row, Task, Work};
use ferry_machine::view::{self, CleanUpState, SegmentState, State};
use std::collections::{BTreeMap, BTreeSet};

/// With more jobs' rows than this, whole checks are made after every so many entries only.
const SEGMENTS_CHECKED_ALWAYS: usize = 60;
/// How many.
const ENTRIES_PER_CHECK: usize = 32;

/// What the oracle remembers.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    ended: BTreeMap<JobId, JobState>,
    progress: BTreeMap<JobId, (u64, u64, u8)>,
    submitted: BTreeMap<String, JobId>,
    /// When each job was seen first.
    pub(crate) seen_at: BTreeMap<JobId, u64>,
    /// Until when an attempt whose lease has ended may still write.
    writes_until: BTreeMap<(TaskId, u32), u64>,
    ids: BTreeSet<i64>,
    /// The task that the next entry is about, and the leases of the worker it is about.
    task_before: Option<Task>,
    leases_before: Vec<(TaskId, u32)>,
}

/// The task that a command is about.
fn task_of(command: &Command) -> Option<TaskId> {
    match command {
        Command::ReportTask { lease, .. }
        | Command::ReleaseTask { lease, .. }
        | Command::ClaimTargets { lease, .. }
        | Command::ReportProgress { lease, .. } => Some(lease.task),
        _ => None,
    }
}

impl World {
    fn worker_of(&self, command: &Command) -> Option<WorkerId> {
        match command {
            Command::LoseWorker { worker, .. } | Command::ReleaseWorker { worker, .. } => Some(*worker),
            Command::RegisterWorker { name, .. } => view::worker_named(&self.rows, name).map(|worker| worker.id),
            _ => None,
        }
    }

    fn leases_of(&self, worker: WorkerId) -> Vec<(TaskId, u32)> {
        view::assigned_tasks(&self.rows, worker).iter().map(|task| (task.id, task.attempt)).collect()
    }

    /// Looks at the rows before an entry changes them.
    pub(crate) fn before_entry(&mut self, proposal: &Proposal) {
        if proposal.term != self.term {
            self.contradict(format!("an entry of term {} lands in term {}", proposal.term, self.term));
        }
        let task = task_of(&proposal.command).and_then(|task| view::task(&self.rows, task));
        self.oracle.task_before = task.map(|(_, task)| task);
        self.judge_forgotten(proposal);
        self.note_end(&proposal.command);
        let worker = self.worker_of(&proposal.command);
        self.oracle.leases_before = worker.map(|worker| self.leases_of(worker)).unwrap_or_default();
    }

    /// Looks at them after.
    pub(crate) fn after_entry(&mut self, proposal: &Proposal, answer: &Answer) {
        self.count(record::command_name(&proposal.command));
        self.count(record::answer_name(answer));
        self.judge_lease(proposal, answer);
        self.judge_attempts_at_once(proposal, answer);
        self.note_ended_leases(proposal, answer);
        self.judge_submit(proposal, answer);
        self.judge_time();
        self.judge_jobs(proposal);
        let deep = self.oracle.progress.len() < 100 && self.segments < SEGMENTS_CHECKED_ALWAYS;
        if deep || self.log.len().is_multiple_of(ENTRIES_PER_CHECK) {
            self.judge_rows();
        }
    }

    /// The machine's own invariants, and that nothing is visible whose job is not Completed.
    pub(crate) fn judge_rows(&mut self) {
        if let Some(violation) = check(&self.rows).first() {
            let violation = violation.to_string();
            self.contradict(format!("check after entry {}: {violation}", self.log.len()));
        }
        let segments = view::list_segments(&self.rows, SegmentId(i64::MIN), 10_000).items;
        self.segments = segments.len();
        for segment in segments.iter().filter(|segment| segment.state == SegmentState::Flushed) {
            let job = view::job(&self.rows, segment.job);
            if job.is_some_and(|job| !matches!(job.state, JobState::Completed { .. })) {
                self.contradict(format!("segment {} is visible, and its job is not Completed", segment.id));
            }
        }
    }

    /// What counts comes from the attempt that held the lease, or repeats what it said.
    fn judge_lease(&mut self, proposal: &Proposal, answer: &Answer) {
        let (Purpose::Report { link, run } | Purpose::Claim { link, run } | Purpose::Progress { link, run }) =
            &proposal.purpose
        else {
            return;
        };
        if answer.is_err() {
            return;
        }
        let own = self.links.get(link).and_then(|link| link.lease(*run));
        let Some(task) = &self.oracle.task_before else { return };
        let held = task.lease.map(|lease| LeaseRef {
            task: task.id,
            attempt: lease.attempt,
            worker: lease.worker,
            incarnation: lease.incarnation,
        });
        let repeats = held.is_none() && task.attempt == run.1;
        if held != own && !repeats {
            self.contradict(format!("attempt {} of task {} counts without the lease", run.1, run.0));
        }
    }

    /// A lease never makes more attempts of a job run at once than its limit, as it then is, allows.
    fn judge_attempts_at_once(&mut self, proposal: &Proposal, answer: &Answer) {
        let (Command::AssignTask(lease), Ok(_)) = (&proposal.command, answer) else { return };
        let Some((job, _)) = view::task(&self.rows, lease.task) else { return };
        let (leased, limit) = (job.counts.tasks_leased, u64::from(job.spec.options.attempts_at_once_max));
        if limit > 0 && leased > limit {
            self.contradict(format!("{leased} attempts of job {} run at once, and {limit} may", job.id));
        }
        if leased == limit {
            self.count("a job runs as many attempts as it may");
        }
    }

    fn note_ended_leases(&mut self, proposal: &Proposal, answer: &Answer) {
        if let Some(before) = self.oracle.task_before.take() {
            let after = view::task(&self.rows, before.id).and_then(|(_, task)| task.lease);
            if let Some(lease) = before.lease.filter(|_| after.is_none()) {
                self.oracle.writes_until.insert((before.id, lease.attempt), self.now);
            }
        }
        if answer.is_err() {
            return;
        }
        self.judge_loss(&proposal.command);
        let Some(worker) = self.worker_of(&proposal.command) else { return };
        let replaced = matches!(proposal.command, Command::RegisterWorker { .. });
        let quiet_ms = if replaced { LEASE_MS + REQUEST_TIMEOUT_MS } else { REQUEST_TIMEOUT_MS };
        let after = self.leases_of(worker);
        for run in std::mem::take(&mut self.oracle.leases_before) {
            if !after.contains(&run) {
                self.oracle.writes_until.insert(run, self.now + quiet_ms);
            }
        }
    }

    /// A worker's lease ends on its own clock before the leader says that it has.
    fn judge_loss(&mut self, command: &Command) {
        let Command::LoseWorker { incarnation, .. } = command else { return };
        let now = self.now;
        let held = |process: &&Process| process.incarnation == *incarnation && process.lease_term_at(now).is_some();
        if self.processes.iter().filter(|process| process.alive).any(|process| held(&process)) {
            self.contradict(format!(
                "incarnation {incarnation} is declared lost, and holds its lease by its own clock"
            ));
        }
    }

    /// One request id, one job.
    fn judge_submit(&mut self, proposal: &Proposal, answer: &Answer) {
        let (Command::SubmitPage(page), Ok(Outcome::Page { job, submitted: true, .. })) = (&proposal.command, answer)
        else {
            return;
        };
        let first = *self.oracle.submitted.entry(page.request_id.clone()).or_insert(*job);
        if first != *job {
            self.contradict(format!("{} made job {first} and job {job}", page.request_id));
        }
        if self.oracle.ids.contains(&job.0) {
            self.contradict(format!("job {job} has an id that was handed out"));
        }
    }

    /// Cluster time never runs ahead of the time that has passed, but for the drift of clocks.
    fn judge_time(&mut self) {
        let at = view::cluster(&self.rows).map_or(0, |cluster| cluster.now.0);
        if at > self.now + self.now / 40 + 100 {
            self.contradict(format!("cluster time is {at} ms when {} ms have passed", self.now));
        }
    }

    fn judge_jobs(&mut self, proposal: &Proposal) {
        for job in view::list_jobs(&self.rows, JobId(i64::MIN), 1_000).items {
            self.oracle.seen_at.entry(job.id).or_insert(self.now);
            self.judge_end(&job, proposal);
            self.judge_snapshot(&job);
            let percent = view::status(&job).map_or(0, |status| status.progress_percent);
            let progress = (job.counts.segments_copied, job.counts.bytes_copied, percent);
            let before = self.oracle.progress.insert(job.id, progress).unwrap_or_default();
            if progress.0 < before.0 || progress.1 < before.1 || progress.2 < before.2 {
                self.contradict(format!("progress of job {} went back from {before:?} to {progress:?}", job.id));
            }
        }
    }

    /// The first terminal state is final, and Completed means that every file is there.
    fn judge_end(&mut self, job: &Job, proposal: &Proposal) {
        let terminal = view::state(job).is_some_and(view::State::terminal);
        match self.oracle.ended.get(&job.id) {
            Some(ended) if *ended != job.state => {
                self.contradict(format!("job {} was {ended:?} and is {:?}", job.id, job.state));
            }
            Some(_) => {}
            None if terminal => {
                self.count(view::state(job).map_or("", record::end_name));
                self.oracle.ended.insert(job.id, job.state.clone());
                if view::status(job).is_some_and(|status| status.clean_up == CleanUpState::Kept) {
                    self.count("a failed job keeps what it copied");
                }
                if matches!(job.state, JobState::Completed { .. }) && job.spec.options.verify_only {
                    self.judge_verified(job);
                } else if matches!(job.state, JobState::Completed { .. }) {
                    self.judge_files(job);
                    let published =
                        matches!(&proposal.command, Command::ReportTask { result: TaskResult::Published, .. });
                    if !published && job.spec.segments > 0 {
                        self.contradict(format!("job {} is Completed by {:?}", job.id, proposal.command));
                    }
                }
            }
            None => {}
        }
    }

    /// The metadata file of a copy's snapshot is there as long as its job is Completed, and gone once a job that never
    /// completes is cleaned up.
    fn judge_snapshot(&mut self, job: &Job) {
        let exists = self.store.objects.contains_key(&metadata(job.snapshot_id));
        let wrong = match view::status(job).map(|status| (status.state, status.clean_up)) {
            Some((State::Completed, _)) => !exists && job.spec.segments > 0 && !job.spec.options.verify_only,
            Some((State::Failed | State::Canceled, CleanUpState::Done | CleanUpState::None)) => exists,
            Some((State::Pending | State::Executing | State::Failed | State::Canceled, _)) | None => false,
        };
        if wrong {
            self.contradict(format!("job {} is {:?}, and its snapshot is there: {exists}", job.id, job.state));
        }
    }

    /// Whoever finds the metadata file must find what it names: copies are deleted after it, unless it is told as left over.
    fn judge_copies_deleted(&mut self, write: &Write, job: Option<&Job>) {
        let Some(job) = job else { return };
        let exists =
            write.key != metadata(job.snapshot_id) && self.store.objects.contains_key(&metadata(job.snapshot_id));
        if !exists {
            return;
        }
        let publication = view::list_tasks(&self.rows, job, TaskId(i64::MIN), 10_000).items.pop();
        if publication.is_none_or(|task| task.clean_up != CleanUp::LeftOver) {
            self.contradict(format!("{:?} of job {} is deleted before its snapshot is", write.key, job.id));
        }
    }

    /// Every file of a Completed job is there and equals its source.
    fn judge_files(&mut self, job: &Job) {
        let tasks = view::list_tasks(&self.rows, job, TaskId(i64::MIN), 10_000).items;
        let mappings: Vec<_> = tasks.iter().flat_map(view::task_mappings).collect();
        for (source, target) in mappings.iter().flat_map(crate::store::files) {
            let object = self.store.objects.get(&target).copied();
            if object.is_none_or(|object| object.content != original(source)) {
                self.contradict(format!("job {} is Completed, and file {target:?} is {object:?}", job.id));
            }
        }
    }

    /// A write lands: by whom, where, and whether it still may.
    pub(crate) fn judge_write(&mut self, write: &Write) {
        let (task, attempt) = write.run;
        let known = view::task(&self.rows, task);
        let holds = known.as_ref().and_then(|(_, task)| task.lease).is_some_and(|lease| lease.attempt == attempt);
        let until = self.oracle.writes_until.get(&write.run).copied();
        // What was sent in time may come as late as its store likes: whether something waits for it is judged below.
        let moment = if write.remote { write.sent_at } else { self.now };
        if !holds && until.is_none_or(|until| moment > until) {
            self.contradict(format!("attempt {attempt} of task {task} writes, and its lease ended: {until:?}"));
        }
        let owner = self.store.objects.get(&write.key).map(|object| object.owner);
        let own = owner.is_none_or(|owner| matches!(owner, Owner::Task(job, _) if job == write.job));
        if !own {
            self.contradict(format!("attempt {attempt} of task {task} touches {:?} of {owner:?}", write.key));
        }
        self.judge_appearance(write, known.as_ref().map(|(_, task)| task));
        if write.content.is_none() {
            self.judge_clean_up(write);
        } else if known.is_some_and(|(_, task)| !task.claimed || task.verifies) {
            self.contradict(format!("attempt {attempt} of task {task} writes without a claim"));
        }
    }

    /// No object appears once its task is cleaned up, nor once its job is forgotten.
    fn judge_appearance(&mut self, write: &Write, task: Option<&Task>) {
        if write.content.is_none() || self.store.objects.contains_key(&write.key) {
            return;
        }
        let over = task.is_none_or(|task| matches!(task.clean_up, CleanUp::Done | CleanUp::LeftOver));
        if over {
            let (task, attempt) = write.run;
            self.contradict(format!("{:?} of attempt {attempt} of task {task} appears after its clean-up", write.key));
        } else if write.late {
            self.count("a write that was given up makes an object");
        }
    }

    /// A clean-up deletes only when its job will never complete and nobody can write any more.
    fn judge_clean_up(&mut self, write: &Write) {
        let (task, attempt) = write.run;
        let job = view::job(&self.rows, write.job);
        let over =
            job.as_ref().is_none_or(|job| matches!(job.state, JobState::Failed { .. } | JobState::Canceled { .. }));
        if !over {
            self.contradict(format!("attempt {attempt} cleans task {task} up, and its job may complete"));
        }
        if job.as_ref().and_then(view::status).is_some_and(|status| status.clean_up == CleanUpState::Kept) {
            self.contradict(format!("attempt {attempt} cleans task {task} up, and its job keeps what it copied"));
        }
        self.judge_copies_deleted(write, job.as_ref());
        let now = self.now;
        let writes = self.runs_of(task).find(|(process, run, state)| {
            let able = self.processes.get(*process).is_some_and(|process| process.may_write(*run, now));
            state.work != Work::CleanUp && (state.in_flight || (able && state.phase == Phase::Copy))
        });
        if let Some((process, run, _)) = writes {
            self.contradict(format!(
                "task {task} is cleaned up while attempt {} on process {process} can write",
                run.1
            ));
        }
    }

    /// Ids that a client received are its own.
    pub(crate) fn ids_received(&mut self, first: i64, count: u32) {
        for id in first..first + i64::from(count) {
            let rows = &self.rows;
            let taken = view::job(rows, JobId(id)).is_some() || view::task(rows, TaskId(id)).is_some();
            let taken = taken || view::segment(rows, SegmentId(id)).is_some();
            if !self.oracle.ids.insert(id) || taken {
                self.contradict(format!("id {id} was given out twice"));
            }
        }
    }

    /// Before a job that did not complete is forgotten, none of its files may be left but those it says are.
    fn judge_forgotten(&mut self, proposal: &Proposal) {
        let Command::CollectJob { job: id } = proposal.command else { return };
        let Some(job) = view::job(&self.rows, id) else { return };
        if !matches!(job.state, JobState::Failed { .. } | JobState::Canceled { .. }) {
            return;
        }
        let left: Vec<TaskId> = self.store.of_job(id).map(|(_, task)| task).collect();
        for task in left {
            let known = view::task(&self.rows, task).map(|(_, task)| task.clean_up);
            if known != Some(CleanUp::LeftOver) {
                self.contradict(format!("job {id} is collected, and files of task {task} are left: {known:?}"));
            }
        }
    }

    /// What is left a day after everything ended: what was published, workers, and objects that are somebody's.
    pub(crate) fn judge_leftovers(&mut self) {
        let stays = |row: &Row| match row {
            Row::Cluster(_) | Row::Worker(_) | Row::WorkerName(_) => true,
            Row::Targets(targets) => targets.published.is_some(),
            Row::Job(_) | Row::Task(_) | Row::Mappings(_) | Row::Request(_) | Row::Index | Row::Event(_) => false,
        };
        let left = self.rows.rows().find(|(_, row)| !stays(row)).map(|(key, _)| format!("{key:?}"));
        if let Some(left) = left {
            self.contradict(format!("a row is left a day after: {left}"));
        }
        let unended = self.oracle.submitted.values().find(|job| !self.oracle.ended.contains_key(job)).copied();
        if let Some(job) = unended {
            self.contradict(format!("job {job} was submitted and never ended"));
        }
        (0..self.nodes.len()).for_each(|node| self.apply_on(node));
        if self.nodes.iter().any(|node| node.rows != self.rows) {
            self.contradict("the replicas differ".to_owned());
        }
    }
}
