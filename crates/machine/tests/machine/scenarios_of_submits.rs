//! Scenarios of submits that must come out right: repeated, broken off, and two that want the same target.

use crate::story::{Story, mapping, page, submit};
use ferry_machine::command::{Command, FailureKind, IdMapping, SubmitPage};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::view::{self, State};

#[test]
fn s22_the_same_submit_twice_is_one_job() {
    let mut story = Story::new();
    story.worker("w", 1);
    let whole = page("r", 0, 2, &[mapping(1, 0), mapping(2, 0)]);
    let Outcome::Page { job, submitted: true, already_existed: false, .. } = story.ok(submit(whole.clone())) else {
        panic!("the first call makes the job")
    };
    let again = Outcome::Page { job, mappings: 2, submitted: true, already_existed: true };
    assert_eq!(story.ok(submit(whole.clone())), again);
    story.run(job);
    assert_eq!(story.ok(submit(whole.clone())), again, "after its end");
    story.lead();
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    assert_eq!(story.ok(submit(whole.clone())), again, "after its collection");
    let mut other = whole;
    other.request_hash = b"another request".to_vec();
    let rejection = story.refused(submit(other));
    assert_eq!(rejection, Rejection::RequestIdReused { request_id: "r".to_owned(), job });
}

#[test]
fn s23_a_target_is_held_by_one_job_until_its_clean_up_is_done() {
    let mut story = Story::new();
    story.worker("w", 1);
    let wanted = [mapping(1, 55)];
    let first = story.submit_mappings("first", &wanted, |_| {});
    let held = Rejection::TargetHeld { target: SegmentId(55), job: first };
    let second = || submit(page("second", 0, 1, &[mapping(9, 55)]));
    assert_eq!(story.refused(second()), held, "while it lives");
    let lease = story.lead()[0];
    story.claim(lease);
    story.fail(lease, FailureKind::Permanent, "gone");
    assert_eq!(story.refused(second()), held, "before it is settled");
    let clean_up = story.lead()[0];
    assert_eq!(story.refused(second()), held, "while it is cleaned up");
    story.clean(clean_up);
    let Outcome::Page { job, .. } = story.ok(second()) else { panic!("the target is free") };
    assert_eq!(story.run(job), State::Completed);
    story.lead();
    story.wait(1_000 * 24 * 3_600_000);
    story.lead();
    assert_eq!(story.state(job), None);
    let for_ever = story.refused(submit(page("third", 0, 1, &wanted)));
    assert_eq!(for_ever, Rejection::TargetHeld { target: SegmentId(55), job }, "a published one is never given again");
}

#[test]
fn s23_targets_on_both_sides_of_one_that_is_held_are_free_and_that_one_is_not() {
    let mut story = Story::new();
    let holder = story.submit_mappings("first", &[mapping(1, 55)], |_| {});
    let around = [mapping(1, 54), mapping(2, 56)];
    let held = Rejection::TargetHeld { target: SegmentId(55), job: holder };
    assert_eq!(story.refused(submit(page("across", 0, 3, &[around[0], mapping(3, 55), around[1]]))), held);
    let Outcome::Page { submitted: true, .. } = story.ok(submit(page("second", 0, 2, &around))) else {
        panic!("nobody holds these targets")
    };
}

#[test]
fn s23_targets_are_held_or_free_wherever_else_their_page_goes() {
    let mut story = Story::new();
    story.ok(Command::ReserveIds { count: 5_000 });
    let holder = story.submit_mappings("first", &[mapping(1, 55)], |_| {});
    let held = Rejection::TargetHeld { target: SegmentId(55), job: holder };
    for other in [1, 56, 900, 5_000] {
        let page = page(&format!("with {other}"), 0, 2, &[mapping(1, other), mapping(2, 55)]);
        assert_eq!(story.refused(submit(page)), held, "beside {other}");
    }
    let far = [mapping(1, 1), mapping(2, 56), mapping(3, 5_000)];
    story.ok(submit(page("far apart", 0, 3, &far)));
}

#[test]
fn s23_a_target_that_an_earlier_page_of_the_job_listed_is_listed_twice() {
    let mut story = Story::new();
    story.ok(submit(page("r", 0, 4, &[mapping(1, 55), mapping(2, 56)])));
    let refused = story.refused(submit(page("r", 2, 4, &[mapping(3, 57), mapping(4, 56)])));
    assert!(refused.to_string().contains("id_mappings[3].target_segment_id: 56 is listed twice"), "{refused}");
    story.ok(submit(page("r", 2, 4, &[mapping(3, 57), mapping(4, 58)])));
}

#[test]
fn s23_a_job_whose_target_was_taken_over_still_lists_it_as_dropped() {
    let mut story = Story::new();
    story.worker("w", 1);
    let first = story.submit_mappings("first", &[mapping(1, 55)], |_| {});
    story.ok(Command::CancelJob { job: first });
    story.lead();
    let second = story.submit_mappings("second", &[mapping(9, 55)], |_| {});
    assert_eq!(story.run(second), State::Completed);
    assert_eq!(story.segment_states(first), ["dropped"].into());
    assert_eq!(story.segment_states(second), ["flushed"].into());
    story.wait(1_000 * 24 * 3_600_000);
    story.lead();
    let segment = view::segment(&story.rows, SegmentId(55)).expect("the published segment stays");
    assert_eq!((segment.job, segment.source), (second, SegmentId(9)));
}

#[test]
fn s40_a_submit_that_broke_off_is_never_seen_and_can_be_resumed() {
    let mut story = Story::new();
    let mappings: Vec<_> = (1..=300).map(|source| mapping(source, source)).collect();
    let first = page("r", 0, 300, &mappings[..150]);
    let Outcome::Page { job, submitted: false, .. } = story.ok(submit(first.clone())) else { panic!("a draft") };
    assert_eq!(story.state(job), None);
    assert!(view::list_jobs(&story.rows, JobId(0), 100).items.is_empty());
    assert!(view::segment(&story.rows, SegmentId(1)).is_none());
    assert!(matches!(story.refused(Command::CancelJob { job }), Rejection::JobNotFound(_)));
    story.wait(limits::DRAFT_IDLE_MS - 1);
    let cursor = Outcome::Page { job, mappings: 150, submitted: false, already_existed: false };
    assert_eq!(story.ok(submit(first)), cursor, "a retry learns where to go on");
    story.wait(limits::DRAFT_IDLE_MS - 1);
    story.lead();
    let skipped = story.refused(submit(page("r", 200, 300, &mappings[200..])));
    assert_eq!(skipped, Rejection::WrongOffset { job, mappings: 150 });
    let last = story.ok(submit(page("r", 150, 300, &mappings[150..])));
    assert_eq!(last, Outcome::Page { job, mappings: 300, submitted: true, already_existed: false });
    assert_eq!(story.state(job), Some(State::Pending));
}

#[test]
fn s40_a_submit_that_never_went_on_is_dropped_and_its_targets_are_free() {
    let mut story = Story::new();
    let mappings: Vec<_> = (1..=450).map(|source| mapping(source, source)).collect();
    story.ok(submit(page("r", 0, 450, &mappings[..150])));
    story.ok(submit(page("r", 150, 450, &mappings[150..300])));
    story.wait(limits::DRAFT_IDLE_MS);
    let dropped = story.plan().commands;
    assert!(matches!(dropped[..], [Command::DropDraft { .. }]));
    story.ok(dropped[0].clone());
    // Hidden and not collected yet: its targets are free already.
    story.ok(submit(page("another", 0, 1, &[mapping(1, 1)])));
    story.lead();
    let job = story.submit_mappings("r", &mappings[1..], |_| {});
    assert_eq!(story.state(job), Some(State::Pending));
    let jobs = view::cluster(&story.rows).expect("the cluster has a row").jobs;
    assert_eq!((jobs.draft, jobs.pending), (0, 1));
}

#[test]
fn s40_a_conflict_on_a_later_page_can_be_dropped_at_once() {
    let mut story = Story::new();
    story.submit_mappings("first", &[mapping(1, 700)], |_| {});
    let mut mappings: Vec<_> = (1..=300).map(|source| mapping(source, source)).collect();
    mappings[250] = mapping(251, 700);
    let Outcome::Page { job, .. } = story.ok(submit(page("r", 0, 300, &mappings[..150]))) else { panic!("a draft") };
    let conflict = story.refused(submit(page("r", 150, 300, &mappings[150..])));
    assert!(matches!(conflict, Rejection::TargetHeld { target: SegmentId(700), .. }));
    story.ok(Command::DropDraft { job });
    story.lead();
    assert!(matches!(story.refused(Command::DropDraft { job }), Rejection::JobNotFound(_)));
    let free = story.submit_mappings("again", &mappings[..250], |_| {});
    assert_eq!(story.state(free), Some(State::Pending));
}

/// A page of a streamed submit: its hash tells the targets that are in.
fn streamed(mappings: &[IdMapping], from: usize, to: usize) -> Command {
    let hash = |end: usize| mappings[..end].iter().flat_map(|mapping| mapping.target.0.to_be_bytes()).collect();
    let page = page("r", from as u64, mappings.len() as u64, &mappings[from..to]);
    submit(SubmitPage { hash_before: hash(from), request_hash: hash(to), ..page })
}

#[test]
fn s40_a_streamed_submit_goes_on_with_what_it_began_with_alone() {
    let mut story = Story::new();
    let mappings: Vec<_> = (1..=6).map(|source| mapping(source, source)).collect();
    let Outcome::Page { job, .. } = story.ok(streamed(&mappings, 0, 3)) else { panic!("a draft") };
    let mut other = mappings.clone();
    other[1].target = SegmentId(9);
    let cursor = Outcome::Page { job, mappings: 3, submitted: false, already_existed: false };
    assert_eq!(story.ok(streamed(&other, 0, 2)), cursor, "what lies behind the cursor is not judged");
    let reused = Rejection::RequestIdReused { request_id: "r".to_owned(), job };
    assert_eq!(story.refused(streamed(&other, 3, 6)), reused, "but at the cursor it is");
    assert_eq!(story.ok(streamed(&mappings, 3, 3)), cursor, "a page of nothing keeps the draft");
    story.ok(streamed(&mappings, 3, 5));
    story.ok(streamed(&mappings, 5, 6));
    assert_eq!(story.state(job), Some(State::Pending));
    let again = Outcome::Page { job, mappings: 6, submitted: true, already_existed: true };
    assert_eq!(story.ok(streamed(&mappings, 5, 6)), again, "the last page tells the whole request");
    assert_eq!(story.refused(streamed(&mappings, 3, 5)), reused, "a page before it does not");
    assert_eq!(story.refused(streamed(&other, 5, 6)), reused);
}

#[test]
fn s40_pages_of_nothing_keep_a_draft_while_its_client_sends_what_is_in_already() {
    let mut story = Story::new();
    let mappings: Vec<_> = (1..=6).map(|source| mapping(source, source)).collect();
    let Outcome::Page { job, .. } = story.ok(streamed(&mappings, 0, 3)) else { panic!("a draft") };
    for _ in 0..3 {
        story.wait(limits::DRAFT_IDLE_MS - 1);
        story.ok(streamed(&mappings, 1, 1));
    }
    story.ok(streamed(&mappings, 3, 6));
    assert_eq!(story.state(job), Some(State::Pending));
}
