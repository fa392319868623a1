//! Clients: they submit in pages that break off, retry with the same request id, clash on targets, and cancel, pause,
//! resume, drain and allocate at any moment.

use crate::bug::Bug;
use crate::consensus::Answer;
use crate::life::SEGMENTS;
use crate::queue::Event;
use crate::random::Random;
use crate::settings::ID_START;
use crate::world::World;
use ferry_machine::command::{Command, IdMapping, SubmitPage};
use ferry_machine::id::{JobId, SegmentId, WorkerId};
use ferry_machine::limits::MAPPINGS_PER_PAGE_MAX;
use ferry_machine::outcome::Outcome;
use ferry_machine::row::{FailurePolicy, JobOptions, JobSpec, LiveOptions};
use ferry_machine::view;

/// A client sends a page again when it was not answered for this long.
const RETRY_MS: u64 = 1_500;
/// Ids that a leader reserves at once.
const WINDOW: u32 = 50;

/// What a client asks a leader for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// The page of a submit that begins there.
    Page { submit: usize, offset: u64 },
    /// The user ends a job.
    Cancel(JobId),
    /// Or lets it keep what it copied no longer.
    CleanUp(JobId),
    /// Or pauses, or resumes it.
    Pause(JobId, bool),
    /// Or changes it.
    Update(JobId, LiveOptions),
    /// An operator drains a worker, or stops that.
    Drain(WorkerId, bool),
    /// So many ids.
    Ids(u32),
}

/// A submit, as its client knows it.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) request_id: String,
    spec: JobSpec,
    mappings: Vec<IdMapping>,
    page_size: usize,
    /// Where the next page begins.
    next: u64,
    /// The client breaks off there, for so long; for ever where that is nothing.
    breaks_off: Option<(u64, Option<u64>)>,
    /// Its client does nothing before this moment.
    away_until: u64,
    done: bool,
}

impl Submit {
    /// One of any kind.
    pub(crate) fn new(number: usize, random: &mut Random) -> Self {
        let huge = random.percent(1);
        let segments = if huge { random.between(301, 700) } else { random.between(0, 7) };
        let first_target = random.between(1, 30);
        let chosen = random.percent(30) && !huge;
        let mapping = |index: u64| IdMapping {
            source: segment(100 + first_target * 3 + index),
            target: if chosen { SegmentId(0) } else { segment(first_target + index) },
            partition_id: 0,
        };
        let mappings: Vec<IdMapping> = (0..segments).map(mapping).collect();
        let spec = spec(segments, huge, random);
        let verifies = random.percent(15) && !huge && (!chosen || random.percent(50));
        let spec = if verifies { verifying(spec, chosen) } else { spec };
        let page_size = if huge { MAPPINGS_PER_PAGE_MAX } else { random.index(4) + 2 };
        let breaks = random.percent(20) && segments > page_size as u64;
        let resumes = random.percent(60).then(|| random.between(2_000, 90_000));
        Self {
            request_id: format!("request-{number}"),
            spec,
            mappings,
            page_size,
            next: 0,
            breaks_off: breaks.then_some((page_size as u64, resumes)),
            away_until: 0,
            done: false,
        }
    }

    /// The one of which a life is told: in two pages, with targets of its own, and time enough for everything.
    pub(crate) fn of_life() -> Self {
        let mapping =
            |index: u64| IdMapping { source: segment(100 + index), target: segment(1 + index), partition_id: 0 };
        let options = JobOptions {
            timeout_ms: Some(600_000),
            retention_ms: 8_000,
            segments_per_task_max: 2,
            attempts_max: 3,
            ..JobOptions::default()
        };
        Self {
            request_id: "the request".to_owned(),
            spec: JobSpec { options, build_ids: 2, ..bare_spec(SEGMENTS) },
            mappings: (0..SEGMENTS).map(mapping).collect(),
            page_size: 3,
            next: 0,
            breaks_off: None,
            away_until: 0,
            done: false,
        }
    }

    /// Whether its client has nothing more to ask.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    fn page(&self, offset: u64) -> SubmitPage {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.mappings.len());
        let to = (from + self.page_size).min(self.mappings.len());
        SubmitPage {
            request_id: self.request_id.clone(),
            hash_before: hash_of(from),
            request_hash: hash_of(to),
            spec: self.spec.clone(),
            offset,
            mappings: self.mappings.get(from..to).unwrap_or_default().to_vec(),
        }
    }
}

/// The same job, that only verifies: a copy which another job may have made, or the source alone.
fn verifying(spec: JobSpec, source_alone: bool) -> JobSpec {
    let on_failure = match spec.options.on_failure {
        FailurePolicy::Keep => FailurePolicy::Fail,
        policy @ (FailurePolicy::Fail | FailurePolicy::Pause) => policy,
    };
    let target_uri = if source_alone { String::new() } else { spec.target_uri };
    JobSpec { options: JobOptions { verify_only: true, on_failure, ..spec.options }, target_uri, ..spec }
}

/// Of a request with so many of its mappings: what it holds is told by its request id here.
fn hash_of(mappings: usize) -> Vec<u8> {
    mappings.to_be_bytes().to_vec()
}

fn segment(number: u64) -> SegmentId {
    SegmentId(i64::try_from(number).unwrap_or(i64::MAX))
}

fn spec(segments: u64, huge: bool, random: &mut Random) -> JobSpec {
    let options = JobOptions {
        timeout_ms: random.percent(70).then(|| random.between(5_000, 60_000)),
        retention_ms: random.between(2_000, 15_000),
        priority: u8::try_from(random.between(0, 100)).unwrap_or(50),
        segments_per_task_max: if huge { 100 } else { u32::try_from(random.between(1, 3)).unwrap_or(1) },
        attempts_max: u32::try_from(random.between(1, 6)).unwrap_or(1),
        start_paused: random.percent(5),
        on_failure: match random.between(0, 9) {
            0..=2 => FailurePolicy::Pause,
            3..=5 => FailurePolicy::Keep,
            _ => FailurePolicy::Fail,
        },
        ..JobOptions::default()
    };
    // One, two or three at once for three of eight jobs; a draw of its own would change every history.
    let limit = u32::try_from(options.retention_ms % 8).unwrap_or_default();
    let options = JobOptions { attempts_at_once_max: if huge || limit > 3 { 0 } else { limit }, ..options };
    let build_ids = u32::try_from(random.between(0, 2)).unwrap_or_default();
    let target_uri = if random.percent(50) { "s3://bucket/target" } else { "file:///target" };
    JobSpec { build_ids, options, target_uri: target_uri.to_owned(), ..bare_spec(segments) }
}

fn bare_spec(segments: u64) -> JobSpec {
    JobSpec {
        source_uri: "file:///source".to_owned(),
        target_uri: "file:///target".to_owned(),
        collection_id: 2,
        segments,
        ..JobSpec::default()
    }
}

impl World {
    /// A client sends the next page of a submit, and comes back to see that it was answered.
    pub(crate) fn submit(&mut self, number: usize) {
        let now = self.now;
        let Some(submit) = self.submits.get_mut(number).filter(|submit| !submit.done && submit.away_until <= now)
        else {
            return;
        };
        if let Some((_, wait_ms)) = submit.breaks_off.take_if(|(at, _)| submit.next >= *at) {
            if let Some(wait_ms) = wait_ms {
                submit.away_until = now + wait_ms;
                self.queue.push(now + wait_ms, Event::Submit(number));
            } else {
                submit.done = true;
            }
            self.count("fault: submit broken off");
            return;
        }
        let offset = submit.next;
        self.queue.push(now + RETRY_MS, Event::Submit(number));
        self.ask(Call::Page { submit: number, offset });
    }

    /// A call goes its way; it may get lost, or arrive twice.
    fn ask(&mut self, call: Call) {
        if self.faults_on && self.random.percent(5) {
            self.count("fault: call twice");
            let late = self.random.between(1, 4_000);
            self.queue.push(self.now + late, Event::Call(call.clone()));
        }
        if let Some(delay) = self.message_delay_ms() {
            self.queue.push(self.now + delay, Event::Call(call));
        }
    }

    /// Some client, or operator, does something.
    pub(crate) fn act(&mut self) {
        let jobs = view::list_jobs(&self.rows, JobId(i64::MIN), 1_000).items;
        let jobs: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let job = self.random.pick(&jobs).unwrap_or(JobId(ID_START));
        let workers = view::list_workers(&self.rows, WorkerId(i64::MIN), 1_000).items;
        let workers: Vec<WorkerId> = workers.iter().map(|worker| worker.id).collect();
        let number = self.random.next();
        let call = match number % 11 {
            0 => Call::Cancel(job),
            10 => Call::CleanUp(job),
            1..=3 => Call::Pause(job, number.is_multiple_of(3)),
            4 => {
                let attempts_at_once_max = u32::try_from(number / 10 % 4).ok();
                Call::Update(job, LiveOptions { priority: Some(70), attempts_at_once_max, ..LiveOptions::default() })
            }
            5 | 6 => Call::Drain(self.random.pick(&workers).unwrap_or_default(), number.is_multiple_of(3)),
            _ => Call::Ids(u32::try_from(number % 40).unwrap_or_default() + 1),
        };
        self.ask(call);
    }

    /// What a call is in the log; nothing for ids, which a leader hands out of its window.
    pub(crate) fn command_of(&self, call: &Call, node: usize) -> Option<Command> {
        Some(match call {
            Call::Page { submit, offset } => {
                Command::SubmitPage(Box::new(self.submits.get(*submit).map(|submit| submit.page(*offset))?))
            }
            Call::Cancel(job) => Command::CancelJob { job: *job },
            Call::CleanUp(job) => Command::CleanUpJob { job: *job },
            Call::Pause(job, paused) => Command::PauseJob { job: *job, paused: *paused },
            Call::Update(job, change) => Command::UpdateJob { job: *job, change: *change },
            Call::Drain(worker, draining) => Command::DrainWorker { worker: *worker, draining: *draining },
            Call::Ids(count) => {
                let leadership = self.nodes.get(node)?.leadership.as_ref()?;
                let enough = leadership.window.end - leadership.window.start >= i64::from(*count);
                if enough || self.bug == Some(Bug::IdsWithoutReserve) {
                    return None;
                }
                Command::ReserveIds { count: WINDOW }
            }
        })
    }

    /// Hands ids out of the leader's window.
    pub(crate) fn hand_out_ids(&mut self, node: usize, call: &Call) {
        let Call::Ids(count) = call else { return };
        let unreserved = self.bug == Some(Bug::IdsWithoutReserve);
        let Some(leader) = self.nodes.get_mut(node) else { return };
        let next = view::cluster(&leader.rows).map_or(ID_START, |cluster| cluster.next_id);
        let Some(leadership) = &mut leader.leadership else { return };
        if unreserved && leadership.window.is_empty() {
            leadership.window = next..i64::MAX;
        }
        let first = leadership.window.start;
        leadership.window.start += i64::from(*count);
        self.ids_received(first, *count);
    }

    /// The leader's answer to a call; that it may get lost is the business of the next retry.
    pub(crate) fn answer_client(&mut self, call: &Call, answer: Option<Answer>) {
        match (call, answer) {
            (Call::Page { submit, .. }, Some(Ok(Outcome::Page { mappings, submitted, .. }))) => {
                if self.faults_on && self.random.percent(5) {
                    self.count("fault: answer lost");
                    return;
                }
                let Some(known) = self.submits.get_mut(*submit) else { return };
                known.next = mappings;
                known.done = submitted;
                if !submitted {
                    self.submit(*submit);
                }
            }
            (Call::Page { submit, .. }, Some(Err(rejection))) => {
                let Some(known) = self.submits.get_mut(*submit) else { return };
                match rejection {
                    ferry_machine::outcome::Rejection::WrongOffset { mappings, .. } => known.next = mappings,
                    _ => known.done = true,
                }
            }
            (Call::Ids(_), Some(Ok(Outcome::Ids { first, count }))) => self.window_reserved(call, first, count),
            _ => {}
        }
    }

    fn window_reserved(&mut self, call: &Call, first: i64, count: u32) {
        let leading = self.nodes.iter().position(|node| {
            let leadership = node.leadership.as_ref();
            leadership.is_some_and(|leadership| leadership.ready && leadership.term == self.term)
        });
        let Some(node) = leading else { return };
        if let Some(leadership) = self.nodes.get_mut(node).and_then(|node| node.leadership.as_mut()) {
            leadership.window = first..first + i64::from(count);
        }
        self.hand_out_ids(node, call);
    }
}
