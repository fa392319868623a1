//! Targets lie in runs of neighbours, which are split where another job takes some of them over: whoever reads or asks for
//! targets is answered as if each were alone.

use crate::story::{Story, mapping, page, submit};
use ferry_machine::command::{Command, IdMapping};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::Row;
use ferry_machine::view::{self, Segment, State};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use std::collections::{BTreeMap, BTreeSet};

/// The targets that jobs ask for; ids from 1,000 on are the cluster's own.
const TARGETS: std::ops::Range<i64> = 1..400;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    /// A job asks for these targets, in this order.
    Submit(Vec<i64>),
    /// One of the jobs is canceled, and all of it is settled.
    Cancel(usize),
    /// One of the jobs is copied.
    Run(usize),
    /// The retention of all jobs that have ended is over.
    Collect,
}

/// Neighbours, or every second or third of them, some of them from the last to the first.
fn targets() -> impl Strategy<Value = Vec<i64>> {
    let stretch = (TARGETS, 1..130_usize, 1..4_usize, any::<bool>()).prop_map(|(first, count, every, back)| {
        let mut stretch: Vec<i64> = (first..TARGETS.end).step_by(every).take(count).collect();
        if back {
            stretch.reverse();
        }
        stretch
    });
    proptest::collection::vec(stretch, 1..3).prop_map(|stretches| {
        let mut seen = BTreeSet::new();
        let each = stretches.into_iter().flatten().filter(|target| seen.insert(*target));
        each.take(ferry_machine::limits::MAPPINGS_PER_PAGE_MAX).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => targets().prop_map(Step::Submit),
        4 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Run),
        1 => Just(Step::Collect),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Each target alone: which job has it, and where every job's targets come from.
#[derive(Default)]
struct Model {
    holders: BTreeMap<i64, JobId>,
    jobs: BTreeMap<JobId, Vec<IdMapping>>,
}

impl Model {
    fn submit(&mut self, story: &mut Story, number: usize, targets: &[i64]) {
        let sources = 5_000 * (1 + number as i64)..;
        let mappings: Vec<_> = sources.zip(targets).map(|(source, target)| mapping(source, *target)).collect();
        let held = |target: &i64| {
            let holder = *self.holders.get(target)?;
            let gave_up = story.state(holder) == Some(State::Canceled);
            (!gave_up).then_some(Rejection::TargetHeld { target: SegmentId(*target), job: holder })
        };
        let page = submit(page(&format!("r{number}"), 0, mappings.len() as u64, &mappings));
        if let Some(held) = targets.iter().find_map(held) {
            assert_eq!(story.refused(page), held);
            return;
        }
        let Outcome::Page { job, submitted: true, .. } = story.ok(page) else { panic!("one page is a job") };
        self.holders.extend(targets.iter().map(|target| (*target, job)));
        self.jobs.insert(job, mappings);
    }

    fn live(&self, story: &Story, number: usize) -> Option<JobId> {
        let live: Vec<JobId> = self.jobs.keys().copied().filter(|job| lives(story, *job)).collect();
        live.get(number.checked_rem(live.len())?).copied()
    }

    fn collect(&mut self, story: &Story) {
        self.jobs.retain(|job, _| story.state(*job).is_some());
        let kept = |target: i64, job: &JobId| self.jobs.contains_key(job) || published(story, target);
        self.holders.retain(|target, job| kept(*target, job));
    }
}

fn lives(story: &Story, job: JobId) -> bool {
    story.state(job).is_some_and(|state| !state.terminal())
}

fn published(story: &Story, target: i64) -> bool {
    view::segment(&story.rows, SegmentId(target)).is_some_and(|segment| segment.state == view::SegmentState::Flushed)
}

/// Every page of a list.
fn all(mut page: impl FnMut(SegmentId) -> view::Page<Segment, SegmentId>) -> Vec<Segment> {
    let (mut items, mut next) = (Vec::new(), Some(SegmentId(0)));
    while let Some(after) = next {
        let found = page(after);
        items.extend(found.items);
        next = found.next;
    }
    items
}

fn compare(story: &Story, model: &Model, page_max: usize) -> Result<(), TestCaseError> {
    let listed = all(|after| view::list_segments(&story.rows, after, page_max));
    let holders: Vec<_> = listed.iter().map(|segment| (segment.id.0, segment.job)).collect();
    prop_assert_eq!(holders, model.holders.iter().map(|(target, job)| (*target, *job)).collect::<Vec<_>>());
    let alone: Vec<_> = TARGETS.filter_map(|target| view::segment(&story.rows, SegmentId(target))).collect();
    prop_assert_eq!(&alone, &listed);
    for (id, mappings) in &model.jobs {
        let job = story.job(*id);
        let told = all(|after| view::list_job_segments(&story.rows, &job, after, page_max));
        let told: Vec<_> = told.iter().map(|segment| (segment.id, segment.source)).collect();
        let mut asked: Vec<_> = mappings.iter().map(|mapping| (mapping.target, mapping.source)).collect();
        asked.sort_unstable();
        prop_assert_eq!(told, asked);
    }
    Ok(())
}

proptest! {
    #[test]
    fn runs_of_targets_answer_as_if_each_target_were_alone(steps in steps(), page_max in 1..150_usize) {
        let mut story = Story::new();
        story.worker("w", 1_000);
        let mut model = Model::default();
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Submit(targets) => model.submit(&mut story, number, targets),
                Step::Cancel(which) => {
                    if let Some(job) = model.live(&story, *which) {
                        story.ok(Command::CancelJob { job });
                        while let Some(command) = story.plan().commands.iter().find(|one| settles(one, job)).cloned() {
                            story.ok(command);
                        }
                    }
                }
                Step::Run(which) => {
                    if let Some(job) = model.live(&story, *which) {
                        story.run(job);
                    }
                }
                Step::Collect => {
                    story.wait(4 * 3_600_000);
                    while let Some(command) = story.plan().commands.iter().find(|one| collects(one)).cloned() {
                        story.ok(command);
                    }
                    model.collect(&story);
                }
            }
            compare(&story, &model, page_max)?;
        }
    }
}

fn settles(command: &Command, of: JobId) -> bool {
    matches!(command, Command::SettleJob { job, .. } if *job == of)
}

fn collects(command: &Command) -> bool {
    matches!(command, Command::CollectJob { .. } | Command::SettleJob { .. })
}

#[test]
fn neighbours_share_rows() {
    let mut story = Story::new();
    let job = story.submit("r", 360);
    let runs = |wanted: fn(&Row) -> bool| story.rows.rows().filter(|(_, row)| wanted(row)).count();
    assert_eq!(runs(|row| matches!(row, Row::Targets(_))), 4, "two pages of 180");
    assert_eq!(runs(|row| matches!(row, Row::Mappings(_))), 4);
    assert_eq!(view::list_job_segments(&story.rows, &story.job(job), SegmentId(0), 1_000).items.len(), 360);
}
