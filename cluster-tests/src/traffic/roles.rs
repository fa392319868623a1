//! What each kind of client does, over and over: submit, control, read, allocate, look at every node.

use super::board::pick;
use super::caller::Caller;
use super::calls::How;
use super::history::{Answer, Outcome, Promise};
use super::plans::{GROUPS, Plan, Plans};
use super::submission::Submission;
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;

/// Between two tries of a submit whose outcome is unknown.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(250);
/// Tries of a write whose outcome is unknown, beside the first; what is not known then stays unknown.
const RESOLVE_TRIES: u32 = 4;
/// Submits in a hundred after which an old one is repeated.
const OLD_PERCENT: u32 = 15;
/// A small job is copied about as fast as this.
const CANCEL_WITHIN_MS: u64 = 80;
/// Most ids of one allocation: some are more than a leader's whole window.
const IDS_MAX: u32 = 15_000;

/// Waits for about this long: from half of it to one and a half.
pub(crate) async fn pace(caller: &mut Caller, interval: Duration) {
    let factor = caller.random.random_range(0.5..1.5);
    tokio::time::sleep(interval.mul_f64(factor)).await;
}

/// Submits what the plans draw, until it is calm.
pub(crate) async fn submitter(mut caller: Caller, plans: Arc<Plans>, interval: Duration) {
    while !caller.shared.is_calm() {
        match plans.draw(&mut caller.random) {
            Plan::One(submission) => submit(&mut caller, &submission).await,
            Plan::Fight(submissions) => fight(&mut caller, &submissions).await,
            Plan::Allocated(source) => {
                let node = caller.node();
                let count = u32::try_from(source.segments).unwrap_or(1);
                let answer = caller.allocate(node, count).await.map(|operation| operation.answer.clone());
                if let Some(Answer::Ids { first, .. }) = answer {
                    let submission = plans.to_targets(&mut caller.random, &source, first);
                    submit(&mut caller, &submission).await;
                }
            }
        }
        if caller.random.random_range(0..100) < OLD_PERCENT {
            repeat_an_old_one(&mut caller).await;
        }
        pace(&mut caller, interval).await;
    }
}

/// A submit of a while ago once more: its job may have been collected by now.
async fn repeat_an_old_one(caller: &mut Caller) {
    if let Some(submission) = caller.shared.board.answered(&mut caller.random) {
        let node = caller.node();
        caller.submit(node, &submission).await;
    }
}

/// Submits, and repeats the same submit on other nodes until its outcome is known.
async fn submit(caller: &mut Caller, submission: &Arc<Submission>) {
    caller.shared.history.announce(submission);
    let mut node = caller.node();
    while !caller.shared.is_stopped() {
        let Some(operation) = caller.submit(node, submission).await else { return };
        match &operation.outcome {
            Outcome::Ok => {
                let job = operation.jobs().next().map_or(0, |job| job.job_id);
                return submitted(caller, node, submission, job).await;
            }
            Outcome::Refused(..) => return,
            Outcome::Unknown(..) => {
                node = caller.other_node(node);
                tokio::time::sleep(RESOLVE_INTERVAL).await;
            }
        }
    }
}

/// Now and then the same submit again elsewhere, its request id with another request, or a cancel.
async fn submitted(caller: &mut Caller, node: u64, submission: &Arc<Submission>, job: i64) {
    caller.shared.board.note_answered(submission);
    let other = caller.other_node(node);
    match caller.random.random_range(0..100) {
        0..12 => drop(caller.submit(other, submission).await),
        12..18 => drop(caller.reuse(other, &Plans::reused(submission)).await),
        18..28 => cancel_at_work(caller, other, job).await,
        _ => {}
    }
}

/// Cancels a job while its first copies are on their way, so that results come late.
async fn cancel_at_work(caller: &mut Caller, node: u64, job: i64) {
    let wait_ms = caller.random.random_range(0..CANCEL_WITHIN_MS);
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    caller.cancel(node, job).await;
}

/// Submits that name the same targets, at once, on different nodes.
async fn fight(caller: &mut Caller, submissions: &[Arc<Submission>]) {
    let rival = |place: usize, seed: u64| Caller::new(Arc::clone(&caller.shared), "rival", place, seed);
    let seeds: Vec<u64> = submissions.iter().map(|_| caller.random.random()).collect();
    let mut rivals = Vec::new();
    for (place, (submission, seed)) in submissions.iter().zip(seeds).enumerate() {
        let (mut rival, submission) = (rival(place, seed), Arc::clone(submission));
        rivals.push(tokio::spawn(async move { submit(&mut rival, &submission).await }));
    }
    for rival in rivals {
        rival.await.expect("a client does not panic");
    }
}

/// Cancels, pauses, resumes and changes jobs.
pub(crate) async fn controller(mut caller: Caller, interval: Duration) {
    while !caller.shared.is_calm() {
        if let Some(job) = caller.shared.board.job(&mut caller.random) {
            control(&mut caller, job.job_id).await;
        }
        pace(&mut caller, interval).await;
    }
}

async fn control(caller: &mut Caller, job: i64) {
    let change = caller.random.random_range(0..100);
    let priority = caller.random.random_range(0..100).lt(&70).then(|| caller.random.random_range(0..=100));
    let bandwidth = caller.random.random_range(0..100).lt(&40).then(|| caller.random.random_range(150_000..2_000_000));
    let mut node = caller.node();
    for _ in 0..=RESOLVE_TRIES {
        let called = match change {
            0..15 => caller.cancel(node, job).await,
            15..40 => caller.pause(node, job).await,
            40..70 => caller.resume(node, job).await,
            _ => caller.update(node, job, priority, bandwidth).await,
        };
        if called.is_none_or(|operation| !operation.is_unknown()) {
            break;
        }
        node = caller.other_node(node);
        tokio::time::sleep(RESOLVE_INTERVAL).await;
    }
    if (15..40).contains(&change) {
        // A pause that nobody takes back would keep its job for ever.
        pace(caller, Duration::from_millis(1_500)).await;
        let node = caller.node();
        caller.resume(node, job).await;
    }
}

/// Reads whatever was heard of, in every way that reads can be made.
pub(crate) async fn reader(mut caller: Caller, interval: Duration) {
    while !caller.shared.is_stopped() {
        read(&mut caller).await;
        pace(&mut caller, interval).await;
    }
}

async fn read(caller: &mut Caller) {
    let node = caller.node();
    let mut how = match caller.random.random_range(0..100) {
        0..65 => How::linearizable(node),
        _ => How::stale(node),
    };
    if caller.random.random_range(0..100) < 15 {
        how.revision_min = Some(caller.shared.board.revision_max());
    }
    let Some(job) = caller.shared.board.job(&mut caller.random) else { return };
    let (segment, task) = (pick(&job.segments, &mut caller.random), pick(&job.tasks, &mut caller.random));
    let (segment, task) = (segment.copied(), task.copied());
    match (caller.random.random_range(0..100), segment, task) {
        (0..10, ..) => {
            let mut ids = vec![job.job_id];
            for _ in 0..3 {
                ids.extend(caller.shared.board.job(&mut caller.random).map(|job| job.job_id));
            }
            caller.get_jobs(how, ids).await;
        }
        (10..17, ..) => {
            let group = caller.random.random_range(0..GROUPS);
            caller.list_jobs(how, group).await;
        }
        (17..30, Some(segment), _) => drop(caller.get_segment(how, segment).await),
        (30..45, ..) => drop(caller.list_segments(how, job.job_id).await),
        (45..55, ..) => drop(caller.list_tasks(how, job.job_id).await),
        (55..65, _, Some(task)) => drop(caller.get_task(how, task).await),
        _ => drop(caller.get_job(how, job.job_id).await),
    }
}

/// Allocates ids.
pub(crate) async fn allocator(mut caller: Caller, interval: Duration) {
    while !caller.shared.is_stopped() {
        let node = caller.node();
        let count = if caller.random.random_range(0..100) < 10 { IDS_MAX } else { caller.random.random_range(1..500) };
        caller.allocate(node, count).await;
        pace(&mut caller, interval).await;
    }
}

/// Watches jobs to their end, and waits for some.
pub(crate) async fn watcher(mut caller: Caller, interval: Duration) {
    while !caller.shared.is_stopped() {
        if let Some(job) = caller.shared.board.job(&mut caller.random) {
            let node = caller.node();
            if caller.random.random_range(0..100) < 30 {
                caller.wait(How::linearizable(node), job.job_id, 800).await;
            } else {
                super::watches::watch(&mut caller, node, job.job_id).await;
            }
        }
        pace(&mut caller, interval).await;
    }
}

/// Looks at every node by itself: its term, and now and then the invariants of its rows.
pub(crate) async fn monitor(mut caller: Caller, interval: Duration) {
    let mut round = 0_u32;
    while !caller.shared.is_stopped() {
        for node in caller.shared.endpoints.nodes() {
            caller.status(node).await;
            if round % 8 == 7 {
                let how = How { node, promise: Promise::Stale, revision_min: None };
                caller.check(how).await;
            }
        }
        round = round.wrapping_add(1);
        pace(&mut caller, interval).await;
    }
}
