//! Submits, page by page: a hidden draft holds the request id and the targets until its last page makes it a job.

use super::keep::Desk;
use super::validate::{self, invalid};
use crate::command::SubmitPage;
use crate::derive;
use crate::id::{JobId, SegmentId, TaskId};
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::row::{Cluster, Job, JobSpec, JobState, JobTotals, Mapping, Request, Settle, Targets};
use crate::tables::Read;
use crate::time::Time;
use ferry_planted::Bug;
use std::collections::BTreeMap;

/// How far apart the targets of a page may be to be looked at together; a page never has more of them.
const TARGETS_APART_MAX: i64 = 1_000;

/// One page: opens a draft, continues it, or is answered with what its request id stands for.
pub(super) fn page(desk: &mut Desk<'_>, page: &SubmitPage) -> Result<Outcome, Rejection> {
    validate::page(page)?;
    let Some(request) = read::request(&desk.rows, &page.request_id) else { return open(desk, page) };
    let has_ended = |job| derive::ended(&job).is_some();
    if ferry_planted::is(Bug::RequestIdForgotten) && read::job(&desk.rows, request.job).is_none_or(has_ended) {
        return open(desk, page);
    }
    let job = read::job(&desk.rows, request.job);
    match job {
        Some(draft) if matches!(draft.state, JobState::Draft { .. }) => resume(desk, &request, &draft, page),
        submitted_or_collected => {
            if request.hash != page.request_hash {
                return Err(reused(page, &request));
            }
            let mappings = submitted_or_collected.map_or(page.spec.segments, |job| job.mappings);
            Ok(Outcome::Page { job: request.job, mappings, submitted: true, already_existed: true })
        }
    }
}

fn reused(page: &SubmitPage, request: &Request) -> Rejection {
    Rejection::RequestIdReused { request_id: page.request_id.clone(), job: request.job }
}

/// Hides a draft; its request id is free at once, its rows go in pages.
pub(super) fn drop_draft(desk: &mut Desk<'_>, id: JobId) -> Result<Outcome, Rejection> {
    let draft = read::job(&desk.rows, id).ok_or(Rejection::JobNotFound(id))?;
    if !matches!(draft.state, JobState::Draft { .. }) {
        return Err(Rejection::Stale("the job is no draft"));
    }
    desk.put_request(&draft.request_id, None);
    let dropped = Job { state: JobState::Collecting, ..draft.clone() };
    desk.put_job(Some(&draft), dropped);
    Ok(Outcome::Job(id))
}

fn open(desk: &mut Desk<'_>, page: &SubmitPage) -> Result<Outcome, Rejection> {
    validate::spec(&page.spec)?;
    if page.offset != 0 {
        return Err(Rejection::WrongOffset { job: JobId(0), mappings: 0 });
    }
    let jobs = desk.cluster.jobs;
    if jobs.draft + jobs.pending + jobs.executing >= limits::JOBS_ALIVE_MAX {
        return Err(Rejection::LimitReached {
            what: "jobs alive",
            max: limits::JOBS_ALIVE_MAX,
            next_step: "wait until some have ended, or cancel some",
        });
    }
    let id = JobId(desk.take_ids(1)?);
    let draft = draft(desk, id, &page.request_id, &page.spec);
    desk.put_request(&page.request_id, Some(Request { hash: page.request_hash.clone(), job: id, expires_at: None }));
    append(desk, None, draft, page)
}

fn draft(desk: &Desk<'_>, id: JobId, request_id: &str, spec: &JobSpec) -> Job {
    Job {
        id,
        request_id: request_id.to_owned(),
        spec: spec.clone(),
        state: JobState::Draft { expires_at: desk.now.at.plus(limits::DRAFT_IDLE_MS) },
        paused: spec.options.start_paused,
        paused_by: None,
        failed_by: None,
        submitted: desk.now,
        started: None,
        first_task: TaskId(0),
        first_build_id: 0,
        snapshot_id: 0,
        mappings: 0,
        counts: JobTotals::default(),
        task_cursor: SegmentId(0),
        settle: Settle::Segments { after: SegmentId(0) },
        clean_up_remaining: 0,
        clean_up_left_over: 0,
        quiet_at: Time(0),
        pass: desk.cluster.pass,
    }
}

/// Goes on with a draft where the page begins at its end. One that lies behind it only learns where to go on: what is
/// in already is held against the caller's request there, by the hash of both.
fn resume(desk: &mut Desk<'_>, request: &Request, draft: &Job, page: &SubmitPage) -> Result<Outcome, Rejection> {
    if page.offset > draft.mappings {
        return Err(Rejection::WrongOffset { job: draft.id, mappings: draft.mappings });
    }
    let mut next = draft.clone();
    next.state = JobState::Draft { expires_at: desk.now.at.plus(limits::DRAFT_IDLE_MS) };
    if page.offset < draft.mappings {
        desk.put_job(Some(draft), next);
        return Ok(Outcome::Page { job: draft.id, mappings: draft.mappings, submitted: false, already_existed: false });
    }
    if request.hash != page.hash_before {
        return Err(reused(page, request));
    }
    if page.request_hash != page.hash_before {
        desk.put_request(&page.request_id, Some(Request { hash: page.request_hash.clone(), ..request.clone() }));
    }
    append(desk, Some(draft), next, page)
}

/// Adds the mappings of a page to a draft; the last page makes it a job.
fn append(desk: &mut Desk<'_>, old: Option<&Job>, mut job: Job, page: &SubmitPage) -> Result<Outcome, Rejection> {
    let mappings = job.mappings + page.mappings.len() as u64;
    if mappings > job.spec.segments {
        let reason = format!("there are more than the {} that the first page announced", job.spec.segments);
        return Err(invalid("id_mappings", reason));
    }
    let targets = match derive::verifies(&job.spec) {
        true => look_at(desk, &job, page)?,
        false => take_targets(desk, &job, page)?,
    };
    put_runs(desk, &job, targets);
    job.mappings = mappings;
    let submitted = mappings == job.spec.segments;
    if submitted {
        submit(desk, &mut job)?;
    }
    let id = job.id;
    desk.put_job(old, job);
    Ok(Outcome::Page { job: id, mappings, submitted, already_existed: false })
}

/// Whether the page names all of its targets, close together, and nobody holds any from the least of them to the greatest:
/// one look instead of one for each; ids that were allocated together pass it. Over a wide range it would step over every
/// row that was deleted there.
fn none_held(desk: &Desk<'_>, page: &SubmitPage) -> bool {
    let targets = || page.mappings.iter().map(|mapping| mapping.target.0);
    let Some((first, last)) = targets().min().zip(targets().max()) else { return false };
    if first < 1 || last == i64::MAX || last - first > TARGETS_APART_MAX {
        return false;
    }
    read::targets_between(&desk.rows, SegmentId(first), SegmentId(last), 1).is_empty()
}

/// Where each target of a page comes from: targets that it names, which nobody holds any more then, and new ones.
fn take_targets(desk: &mut Desk<'_>, job: &Job, page: &SubmitPage) -> Result<BTreeMap<SegmentId, Mapping>, Rejection> {
    let none_held = none_held(desk, page);
    let mut targets = BTreeMap::new();
    let mut named = BTreeMap::new();
    for (index, mapping) in (job.mappings..).zip(&page.mappings) {
        let chosen = mapping.target == SegmentId(0);
        let target = if chosen { SegmentId(desk.take_ids(1)?) } else { mapping.target };
        let place = Mapping { source: mapping.source, partition_id: mapping.partition_id };
        if targets.insert(target, place).is_some() {
            return Err(listed_twice(index, target));
        }
        if !chosen {
            named.insert(target, index);
        }
    }
    // In the order of the targets: rows that were deleted for one lie behind the look for the next. The caller hears of the
    // first that it named.
    let refused = named.into_iter().filter_map(|(target, index)| {
        let taken = take_target(desk, job.id, index, target, none_held);
        taken.err().map(|rejection| (index, rejection))
    });
    match refused.min_by_key(|(index, _)| *index) {
        Some((_, rejection)) => Err(rejection),
        None => Ok(targets),
    }
}

fn take_target(
    desk: &mut Desk<'_>,
    job: JobId,
    index: u64,
    target: SegmentId,
    none_held: bool,
) -> Result<(), Rejection> {
    if let Some(rejection) = not_allocated(&desk.cluster, target) {
        return Err(rejection);
    }
    if none_held {
        return Ok(());
    }
    match read::targets_with(&desk.rows, target) {
        None => Ok(()),
        Some((last, held)) if gave_up(&desk.rows, desk.now.at, &held) => {
            desk.take_over(target, last, held);
            Ok(())
        }
        Some((_, held)) if held.job == job => Err(listed_twice(index, target)),
        Some((_, held)) => Err(Rejection::TargetHeld { target, job: held.job }),
    }
}

/// What a job looks at that takes no target: those of a copy, which stay whose they are, or the sources in their own place.
fn look_at(desk: &Desk<'_>, job: &Job, page: &SubmitPage) -> Result<BTreeMap<SegmentId, Mapping>, Rejection> {
    let mut targets = BTreeMap::new();
    for (index, mapping) in (job.mappings..).zip(&page.mappings) {
        let named = mapping.target != SegmentId(0);
        let reason = match (derive::verifies_source(&job.spec), named) {
            (true, true) => Some("is set without target.uri: leave it out, or name the copy that is to be verified"),
            (false, false) => Some("is 0: name the segment of the copy that is compared with the source"),
            (true, false) | (false, true) => None,
        };
        if let Some(reason) = reason {
            return Err(invalid(format!("id_mappings[{index}].target_segment_id"), reason));
        }
        let target = if named { mapping.target } else { mapping.source };
        let listed = read::job_run_to(&desk.rows, job.id, target);
        let listed = listed.is_some_and(|(last, run)| read::first_of(last, run.len()) <= target);
        let place = Mapping { source: mapping.source, partition_id: mapping.partition_id };
        if listed || targets.insert(target, place).is_some() {
            return Err(listed_twice(index, target));
        }
    }
    Ok(targets)
}

/// Writes the targets of a page in runs of neighbours, each with the lock on it unless the job only looks at them.
fn put_runs(desk: &mut Desk<'_>, job: &Job, targets: BTreeMap<SegmentId, Mapping>) {
    let mut run: Vec<Mapping> = Vec::new();
    let mut last = SegmentId(0);
    for (target, mapping) in targets {
        if target != read::next_target(last) || run.len() == limits::TARGETS_PER_RUN_MAX {
            desk.put_run(job, last, std::mem::take(&mut run));
        }
        run.push(mapping);
        last = target;
    }
    desk.put_run(job, last, run);
}

fn listed_twice(index: u64, target: SegmentId) -> Rejection {
    let reason = format!("{target} is listed twice: give each source a target of its own");
    invalid(format!("id_mappings[{index}].target_segment_id"), reason)
}

/// What keeps a new job from a target that its caller names.
pub(crate) fn refused_target(read: &dyn Read, cluster: &Cluster, now: Time, target: SegmentId) -> Option<Rejection> {
    if let Some(rejection) = not_allocated(cluster, target) {
        return Some(rejection);
    }
    let (_, held) = read::targets_with(read, target)?;
    (!gave_up(read, now, &held)).then_some(Rejection::TargetHeld { target, job: held.job })
}

/// Ids of the cluster's own range are for those whom it gave them.
fn not_allocated(cluster: &Cluster, target: SegmentId) -> Option<Rejection> {
    let id_start = cluster.id_start;
    (target.0 >= id_start && target.0 >= cluster.next_id).then_some(Rejection::TargetNotAllocated { target, id_start })
}

/// Whether the holder of targets can never write to them again, nor ever made them visible.
fn gave_up(read: &dyn Read, now: Time, held: &Targets) -> bool {
    if ferry_planted::is(Bug::TargetLockIgnored) {
        return true;
    }
    if held.published.is_some() {
        return false;
    }
    let Some(holder) = read::job(read, held.job) else { return true };
    derive::gave_up_targets(&holder, now)
}

/// The last page is in: the draft becomes a job, with ids for its tasks, the copies' build ids and the copy's snapshot.
fn submit(desk: &mut Desk<'_>, job: &mut Job) -> Result<(), Rejection> {
    job.submitted = desk.now;
    if job.spec.segments == 0 {
        job.state = JobState::Completed { ended: desk.now };
        job.settle = Settle::Done;
        return Ok(());
    }
    job.state = JobState::Pending;
    if derive::verifies(&job.spec) {
        job.first_task = TaskId(desk.take_ids(derive::tasks_planned(&job.spec))?);
        (job.first_build_id, job.snapshot_id) = (job.spec.first_build_id, job.spec.snapshot_id);
        return Ok(());
    }
    job.first_task = TaskId(desk.take_ids(derive::tasks_planned(&job.spec))?);
    if job.spec.build_ids > 0 {
        job.first_build_id = desk.take_ids(u64::from(job.spec.build_ids))?;
    }
    job.snapshot_id = desk.take_ids(1)?;
    Ok(())
}
