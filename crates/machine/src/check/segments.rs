//! Each target belongs to one job, and nothing is published whose job is not Completed, unless the job is history.

use super::{Findings, Rows, View, come};
use crate::derive;
use crate::id::{JobId, SegmentId};
use crate::key::Key;
use crate::limits;
use crate::read::{self, TasksOfTargets};
use crate::row::{Job, JobState, Mapping, Row, Settle, Targets};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let mut before = SegmentId(0);
    for (key, row) in Rows::targets(view.read) {
        let (Key::Targets(last), Row::Targets(targets)) = (&key, row) else {
            findings.add(key, "is no run of targets");
            continue;
        };
        let allocated = last.0 < view.cluster.id_start || last.0 < view.cluster.next_id;
        findings.expect(allocated, &key, "has an id that was never given out");
        findings.expect(before < targets.first && targets.first <= *last, &key, "has ids that another run has");
        let count = last.0.abs_diff(targets.first.0).saturating_add(1);
        findings.expect(count <= limits::TARGETS_PER_RUN_MAX as u64, &key, "has more ids than a run may");
        let told = targets.published.as_ref().is_none_or(|published| published.segments.len() as u64 == count);
        findings.expect(told, &key, "publishes more or fewer segments than it has ids");
        check_holder(view, *last, &targets, &key, findings);
        before = *last;
    }
    let mut walk = Walk::default();
    for (key, row) in Rows::mappings(view.read) {
        let (Key::JobTargets(id, last), Row::Mappings(mappings)) = (&key, row) else {
            findings.add(key, "is no run of a job's targets");
            continue;
        };
        let fits = (1..=limits::TARGETS_PER_RUN_MAX).contains(&mappings.len());
        findings.expect(fits, &key, "has no mappings, or more than a run may");
        walk.check(view, *id, *last, &mappings, &key, findings);
    }
}

/// The holder of targets has them in its list, as long as that is needed.
fn check_holder(view: &View<'_>, last: SegmentId, targets: &Targets, key: &Key, findings: &mut Findings) {
    let (job, published) = (read::job(view.read, targets.job), targets.published.is_some());
    let never = job.as_ref().is_some_and(derive::never_completes);
    findings.expect(!(never && published), key, "is published, and its job never completes");
    let only_verifies = job.as_ref().is_some_and(|job| derive::verifies(&job.spec));
    findings.expect(!only_verifies, key, "is held by a job that only verifies");
    if published && job.is_none_or(|job| job.state == JobState::Collecting) {
        // There is no list any more, and a look for it would step over all that was deleted with it.
        return;
    }
    let run = read::job_run_to(view.read, targets.job, last);
    let listed = run.is_some_and(|(last, mappings)| read::first_of(last, mappings.len()) <= targets.first);
    findings.expect(listed, key, "is not listed by its job");
}

/// Goes through the runs of all jobs, job by job.
#[derive(Default)]
struct Walk {
    job: Option<(Job, TasksOfTargets)>,
    /// The last target of the run before, of the same job.
    before: SegmentId,
}

impl Walk {
    fn check(
        &mut self,
        view: &View<'_>,
        id: JobId,
        last: SegmentId,
        mappings: &[Mapping],
        key: &Key,
        findings: &mut Findings,
    ) {
        if self.job.as_ref().is_none_or(|(job, _)| job.id != id) {
            let job = read::job(view.read, id);
            self.job = job.map(|job| (job.clone(), TasksOfTargets::new(&job)));
            self.before = SegmentId(0);
        }
        let Some((job, tasks)) = &mut self.job else {
            findings.add(key.clone(), "belongs to a job that is gone");
            return;
        };
        let first = read::first_of(last, mappings.len());
        findings.expect(self.before < first, key, "has targets that another run of the job has");
        self.before = last;
        if given_up(view, job) || derive::verifies(&job.spec) {
            return;
        }
        let published = settled(job, last).then(|| tasks.published(view.read, job, first, mappings));
        let told = Some(Row::Targets(Targets { job: id, first, published }));
        findings.equal(&Key::Targets(last), "its row", &view.read.get(&Key::Targets(last)), &told);
    }
}

/// Whether settling has written down that a run was published.
fn settled(job: &Job, last: SegmentId) -> bool {
    let written = match job.settle {
        Settle::Segments { after } => last <= after,
        Settle::Kept => false,
        Settle::Metadata | Settle::Tasks { .. } | Settle::Done => true,
    };
    matches!(job.state, JobState::Completed { .. }) && written
}

/// Whether another job may have taken over the targets of this one.
fn given_up(view: &View<'_>, job: &Job) -> bool {
    let unpublished = match job.state {
        JobState::Failed { .. } | JobState::Canceled { .. } => derive::at_rest(job),
        JobState::Collecting => true,
        JobState::Draft { .. } | JobState::Pending | JobState::Executing | JobState::Completed { .. } => false,
    };
    unpublished && come(view, job.quiet_at)
}
