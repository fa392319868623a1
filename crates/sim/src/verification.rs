//! Attempts that only verify, and what must hold of the jobs whose attempts they are.

use crate::attempt::copied;
use crate::bug::Bug;
use crate::link::RunId;
use crate::store::original;
use crate::world::World;
use ferry_machine::command::{FailureKind, TaskResult};
use ferry_machine::id::TaskId;
use ferry_machine::row::Job;
use ferry_machine::view;

impl World {
    /// Looks at every source, and where there are copies at them; a segment that is its own target has none.
    pub(crate) fn verify(&mut self, id: usize, run: RunId) {
        let blind = self.bug == Some(Bug::VerifiesNothing);
        let Some(state) = self.attempt(id, run) else { return };
        let differs = state.files.iter().find(|(source, target)| {
            let is_copied = self.store.objects.get(target).is_some_and(|object| object.content == original(*source));
            self.store.damaged.contains_key(source) || (source != target && !is_copied)
        });
        match differs.filter(|_| !blind) {
            Some((source, _)) => {
                let reason = format!("object {} of segment {} is not as it has to be", source.1, source.0);
                self.count("a verification finds something");
                self.fail(id, run, FailureKind::Permanent, reason);
            }
            None => {
                let result = TaskResult::Verified { segments: copied(state) };
                self.end(id, run, result);
            }
        }
    }

    /// A verification that found nothing looked at sources that were whole when it was submitted, or later.
    pub(crate) fn judge_verified(&mut self, job: &Job) {
        self.count("a verification finds nothing");
        let seen_at = self.oracle.seen_at.get(&job.id).copied().unwrap_or_default();
        let tasks = view::list_tasks(&self.rows, job, TaskId(i64::MIN), 10_000).items;
        let mappings: Vec<_> = tasks.iter().flat_map(view::task_mappings).collect();
        for (source, _) in mappings.iter().flat_map(crate::store::files) {
            let damaged = self.store.damaged.contains_key(&source);
            if damaged && self.store.damaged_at.get(&source).is_some_and(|at| *at < seen_at) {
                self.contradict(format!("job {} says that {source:?} is whole, and it is not", job.id));
            }
        }
    }
}
