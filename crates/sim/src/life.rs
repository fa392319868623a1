//! The life of one small job in which nothing goes wrong, but that the leader dies at one chosen place of its log.
//!
//! Invariant: up to that place two lives with the same ending are the same, so every entry of the undisturbed one names a
//! place of the disturbed ones.

use crate::client::{Call, Submit};
use crate::consensus::Proposal;
use crate::queue::Event;
use crate::record;
use crate::settings::{HEALING_MS_MAX, Scale};
use crate::store::Damage;
use crate::world::World;
use ferry_machine::command::Command;
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::row::{Job, JobState};
use ferry_machine::view;

/// Chooses delays; any number does.
const SEED: u64 = 30;
/// Three replicas and one worker.
const SCALE: Scale = Scale { submits: 0, workers: 1, nodes: 3, faults_ms: 0, calm_ms: 1_000 };
/// How often the user looks whether it is time to end the job.
const LOOK_MS: u64 = 5;
/// The segments of the job, in tasks of two and pages of three.
pub(crate) const SEGMENTS: u64 = 5;
/// The source whose loss makes the job fail: one of the last task.
const LOST_SOURCE: SegmentId = SegmentId(104);

/// How the job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything is copied.
    Completes,
    /// A source is lost, so what was copied is cleaned up.
    Fails,
    /// Its user ends it in the middle.
    IsCanceled,
}

/// When a leader dies: an entry of the log, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The entry is proposed, and no other node has it.
    Before(usize),
    /// The entry is committed, and nobody was told.
    After(usize),
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How the job ends.
    pub ending: Ending,
    /// When a leader dies, if one does.
    pub death: Option<Death>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifeReport {
    /// The first thing that must not be.
    pub contradiction: Option<String>,
    /// The log: the name of every command in it.
    pub entries: Vec<&'static str>,
    /// The command at the place where the leader died.
    pub died_at: Option<&'static str>,
    /// What the job had come to when its retention was over: its state, tasks, targets and files.
    pub end: String,
}

/// What a world knows of the life it tells.
#[derive(Debug)]
pub(crate) struct Told {
    life: Life,
    died_at: Option<&'static str>,
    end: Option<String>,
}

impl Life {
    /// Tells it to its end.
    #[must_use]
    pub fn tell(self) -> LifeReport {
        let mut world = World::calm(SEED, SCALE);
        world.told = Some(Told { life: self, died_at: None, end: None });
        world.processes.iter_mut().for_each(|process| process.slots = 1);
        world.submits.push(Submit::of_life());
        world.queue.push(50, Event::Submit(0));
        if self.ending == Ending::Fails {
            world.store.damaged.insert((LOST_SOURCE, 0), Damage::Gone);
        }
        while world.contradiction.is_none() && world.now < HEALING_MS_MAX && !world.is_over() {
            world.cancel_in_time();
            world.run_until(world.now + LOOK_MS);
        }
        if !world.is_over() {
            world.contradict("the job does not come to its end".to_owned());
        }
        if world.contradiction.is_none() {
            world.judge_rest();
        }
        let entries = world.log.iter().map(|entry| record::command_name(&entry.command)).collect();
        let told = world.told.take();
        let (died_at, end) = told.map_or((None, None), |told| (told.died_at, told.end));
        LifeReport { contradiction: world.contradiction, entries, died_at, end: end.unwrap_or_default() }
    }
}

impl World {
    /// The job was there, and is collected; whoever died is back.
    fn is_over(&self) -> bool {
        let ended = self.told.as_ref().is_some_and(|told| told.end.is_some());
        ended && self.healed() && self.nodes.iter().all(|node| node.up)
    }

    /// The user ends the job once a first task is done and another one writes, and asks again until it has ended.
    fn cancel_in_time(&mut self) {
        if self.told.as_ref().is_none_or(|told| told.life.ending != Ending::IsCanceled) {
            return;
        }
        let Some(job) = view::list_jobs(&self.rows, JobId(i64::MIN), 1).items.pop() else { return };
        let writes = self.tasks_of(&job).iter().any(|(_, task)| task.claimed && task.lease.is_some());
        if job.state == JobState::Executing && job.counts.tasks_completed > 0 && writes {
            self.queue.push(self.now + 1, Event::Call(Call::Cancel(job.id)));
        }
    }

    /// The leader dies with its proposal, which nobody else has.
    pub(crate) fn dies_before(&mut self, proposal: &Proposal) -> bool {
        self.dies(proposal, Death::Before(self.log.len() + 1))
    }

    /// The leader dies with its answer.
    pub(crate) fn dies_after(&mut self, proposal: &Proposal) -> bool {
        self.dies(proposal, Death::After(self.log.len()))
    }

    fn dies(&mut self, proposal: &Proposal, place: Death) -> bool {
        let Some(told) = self.told.as_mut().filter(|told| told.life.death == Some(place) && told.died_at.is_none())
        else {
            return false;
        };
        told.died_at = Some(record::command_name(&proposal.command));
        self.crash_node(proposal.node);
        true
    }

    /// What the job has come to, before the first entry that makes it forgotten.
    pub(crate) fn note_end(&mut self, command: &Command) {
        let Command::CollectJob { job: id } = command else { return };
        let (Some(job), Some(_)) = (view::job(&self.rows, *id), &self.told) else { return };
        let end = self.end_of(&job);
        if let Some(told) = &mut self.told {
            told.end.get_or_insert(end);
        }
    }

    /// Everything that must not depend on who led when: no times, no ids that the cluster chose, no attempts. How far a
    /// job came that its user ended is the user's and the workers' race.
    fn end_of(&self, job: &Job) -> String {
        let Some(status) = view::status(job) else { return String::new() };
        let canceled = matches!(job.state, JobState::Canceled { .. });
        let mut end = format!("{:?} {:?}, clean-up {:?}\n", status.state, status.reason, status.clean_up);
        if !canceled {
            let counts = &job.counts;
            end += &format!("{} of {} segments, {} rows\n", counts.segments_copied, job.spec.segments, counts.rows);
        }
        for (rank, task) in self.tasks_of(job) {
            let state = view::task_status(job, &task).state;
            let state = if canceled { "ended".to_owned() } else { format!("{state:?}, clean-up {:?}", task.clean_up) };
            let busy = task.lease.is_some() || task.queued_at.is_some();
            end += &format!("task {rank} of {} segments: {state}, busy {busy}\n", task.segments.len());
        }
        for segment in view::list_job_segments(&self.rows, job, SegmentId(i64::MIN), 100).items {
            let copied = if canceled { String::new() } else { format!(", {} rows", segment.rows) };
            end += &format!("target {} of {}: {:?}{copied}\n", segment.id, segment.source, segment.state);
        }
        let metadata = crate::store::metadata(job.snapshot_id);
        end += &format!("snapshot: {}\n", self.store.objects.contains_key(&metadata));
        for (key, object) in self.store.objects.iter().filter(|(key, _)| **key != metadata) {
            end += &format!("file {} of target {}: {:x}\n", key.1, key.0, object.content);
        }
        end
    }

    fn tasks_of(&self, job: &Job) -> Vec<(i64, ferry_machine::row::Task)> {
        let tasks = view::list_tasks(&self.rows, job, TaskId(i64::MIN), 100).items;
        tasks.into_iter().map(|task| (task.id.0 - job.first_task.0, task)).collect()
    }
}
