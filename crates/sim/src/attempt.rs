//! What an attempt does: it looks, claims, copies file by file and reports, or deletes what its task wrote. Writes take
//! their time, and land whatever has become of the process that sent them.

use crate::bug::Bug;
use crate::link::{FromWorker, RunId};
use crate::queue::Event;
use crate::run::{FILE_BYTES, Phase, Run, Write};
use crate::settings::{LATE_WRITE_MS_MAX, WRITE_MS_MAX};
use crate::store::{Damage, Key, Object, Owner, original};
use crate::world::World;
use ferry_machine::command::{CopiedSegment, FailureKind, TaskResult};
use ferry_machine::id::JobId;
use ferry_machine::row::Work;

impl World {
    /// An attempt goes on, unless its worker may not write any more.
    pub(crate) fn step(&mut self, id: usize, run: RunId) {
        if let Some(at) = self.resumes_at(id) {
            self.queue.push(at, Event::Step { process: id, run });
            return;
        }
        let (now, bug) = (self.now, self.bug);
        let Some(process) = self.processes.get(id).filter(|process| process.alive) else { return };
        let Some(state) = process.runs.get(&run).filter(|state| !state.in_flight) else { return };
        if !process.may_write(run, now) && bug != Some(Bug::WorkerIgnoresLease) {
            if state.phase != Phase::Waiting && !matches!(state.phase, Phase::Ended(_)) {
                self.count("a worker stops by its own clock");
                self.stop(id, run);
            }
            return;
        }
        match state.phase {
            Phase::Waiting | Phase::Claiming | Phase::Ended(_) => {}
            Phase::Look => self.look(id, run),
            Phase::Copy => self.copy_next(id, run),
            Phase::Delete => self.delete_next(id, run),
        }
    }

    /// The first attempt of a task: nothing may be there yet.
    fn look(&mut self, id: usize, run: RunId) {
        let copies = self.attempt(id, run).filter(|state| state.work != Work::Verify);
        let taken = copies.and_then(|state| {
            state.files.iter().map(|(_, target)| *target).find(|target| self.store.objects.contains_key(target))
        });
        match taken.filter(|_| self.bug != Some(Bug::ClaimsBlindly)) {
            Some(key) => {
                self.count("fault: target exists");
                self.fail(id, run, FailureKind::Permanent, format!("object {} of segment {} exists", key.1, key.0));
            }
            None => {
                let Some(state) = self.attempt_mut(id, run) else { return };
                state.phase = Phase::Claiming;
                let claim = state.claim(run);
                self.tell(id, claim);
            }
        }
    }

    /// Copies the next file, or writes the metadata file, unless an earlier attempt has; after the last one, reports.
    fn copy_next(&mut self, id: usize, run: RunId) {
        if self.misfortune(id, run) {
            return;
        }
        if self.attempt(id, run).is_some_and(|state| state.work == Work::Verify) {
            self.verify(id, run);
            return;
        }
        let skips_publication = self.bug == Some(Bug::PublishesNothing);
        let Some(state) = self.attempt_mut(id, run) else { return };
        let (job, done) = (state.job, state.files_done);
        let skips = skips_publication && state.publishes();
        let Some((source, target)) = state.files.get(done).copied().filter(|_| !skips) else {
            let published = state.publishes();
            let result = if published { TaskResult::Published } else { TaskResult::Copied { segments: copied(state) } };
            self.end(id, run, result);
            return;
        };
        let content = match self.store.damaged.get(&source) {
            Some(Damage::Gone) => None,
            Some(Damage::Short) if self.bug != Some(Bug::CopiesShortSources) => None,
            Some(Damage::Short) => Some(original(source) / 2),
            None => Some(original(source)),
        };
        let Some(content) = content else {
            self.count("fault: source damaged");
            self.fail(
                id,
                run,
                FailureKind::Permanent,
                format!("object {} of segment {} is damaged", source.1, source.0),
            );
            return;
        };
        if self.store.objects.get(&target).is_some_and(|object| object.content == content) {
            self.count("an attempt keeps what an earlier one wrote");
            self.landed(id, run);
        } else {
            self.send_write(id, run, job, target, Some(content));
        }
        if self.random.percent(10) {
            self.tell(id, FromWorker::Progress { run, bytes: (done as u64 + 1) * FILE_BYTES });
        }
    }

    fn delete_next(&mut self, id: usize, run: RunId) {
        if self.misfortune(id, run) {
            return;
        }
        let (all, metadata) = (self.bug == Some(Bug::CleansUpNothing), self.bug == Some(Bug::KeepsMetadata));
        let Some(state) = self.attempt_mut(id, run) else { return };
        let skip = all || (metadata && state.publishes());
        let job = state.job;
        match state.files.get(state.files_done).map(|(_, target)| *target).filter(|_| !skip) {
            Some(key) => self.send_write(id, run, job, key, None),
            None => self.end(id, run, TaskResult::CleanedUp),
        }
    }

    /// Stores fail now and then, and refuse some credentials.
    fn misfortune(&mut self, id: usize, run: RunId) -> bool {
        if !self.faults_on || !self.random.percent(2) {
            return false;
        }
        let (kind, name) = match self.random.next() % 4 {
            0 => (FailureKind::Refused, "credentials refused"),
            1 => (FailureKind::GivenBack, "given back"),
            2 => (FailureKind::Outage, "the store is away"),
            _ => (FailureKind::Transient, "store throttles"),
        };
        self.count("fault: attempt fails");
        self.fail(id, run, kind, name.to_owned());
        true
    }

    /// Now and then a remote store does not answer a write in time, and carries it out much later.
    fn send_write(&mut self, id: usize, run: RunId, job: JobId, key: Key, content: Option<u64>) {
        if !self.passes(id, run) {
            return;
        }
        let sent_at = self.now;
        let Some(state) = self.attempt_mut(id, run) else { return };
        state.in_flight = true;
        let remote = state.may_give_up();
        let late = remote && self.faults_on && self.random.percent(12);
        let slow = self.faults_on && self.random.percent(5);
        let delay = match (late, slow) {
            (true, _) => self.random.between(WRITE_MS_MAX, LATE_WRITE_MS_MAX),
            (false, true) => self.random.between(500, WRITE_MS_MAX),
            (false, false) => self.random.between(2, 60),
        };
        if late {
            self.queue.push(sent_at + WRITE_MS_MAX, Event::GiveUp { process: id, run });
        }
        let write = Write { process: id, run, job, key, content, sent_at, remote, late };
        self.queue.push(sent_at + delay, Event::Land(write));
    }

    /// A write lands: whether it may is the oracle's to say.
    pub(crate) fn land(&mut self, write: Write) {
        self.judge_write(&write);
        match write.content {
            Some(content) => {
                let object = Object { content, owner: Owner::Task(write.job, write.run.0) };
                self.store.objects.insert(write.key, object);
            }
            None => {
                let removed = self.store.objects.remove(&write.key);
                if removed.is_some() && crate::store::is_metadata(write.key) {
                    self.count("a snapshot is deleted before the copies");
                }
            }
        }
        if !write.late {
            self.landed(write.process, write.run);
        }
    }

    pub(crate) fn fail(&mut self, id: usize, run: RunId, kind: FailureKind, reason: String) {
        self.end(id, run, TaskResult::Failed { kind, reason });
    }

    pub(crate) fn end(&mut self, id: usize, run: RunId, result: TaskResult) {
        let Some(state) = self.attempt_mut(id, run) else { return };
        state.phase = Phase::Ended(result.clone());
        let gave_up = state.gave_up;
        self.tell(id, FromWorker::Result { run, result, gave_up });
    }

    pub(crate) fn tell(&mut self, id: usize, message: FromWorker) {
        if let Some(link) = self.processes.get(id).and_then(|process| process.link) {
            self.say_to_node(link, message);
        }
    }

    pub(crate) fn attempt(&self, id: usize, run: RunId) -> Option<&Run> {
        self.processes.get(id)?.runs.get(&run)
    }

    fn attempt_mut(&mut self, id: usize, run: RunId) -> Option<&mut Run> {
        self.processes.get_mut(id)?.runs.get_mut(&run)
    }
}

/// What a finished attempt reports.
pub(crate) fn copied(run: &Run) -> Vec<CopiedSegment> {
    let bytes = |target| run.files.iter().filter(|(_, (segment, _)): &&(Key, Key)| *segment == target).count() as u64;
    let segment = |mapping: &ferry_machine::command::IdMapping| CopiedSegment {
        target: mapping.target,
        partition_id: mapping.partition_id.max(1),
        rows: 5,
        bytes: bytes(mapping.target) * FILE_BYTES,
    };
    run.mappings.iter().map(segment).collect()
}
