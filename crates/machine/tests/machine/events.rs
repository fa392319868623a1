//! Events: each transition of a job once, in order, whatever command brought it; they expire, and how far is known.

use crate::story::{Story, mapping, page, submit};
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::id::{EventId, JobId};
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::{EventLog, Row, Transition};
use ferry_machine::tables::{Read, Tables};
use ferry_machine::time::{Stamp, Time};
use ferry_machine::view::{self, State};
use ferry_machine::{apply, check};

/// As in the policy of stories.
const RETENTION_MS: u64 = 24 * 60 * 60 * 1_000;

fn log(story: &Story) -> EventLog {
    view::cluster(&story.rows).expect("the cluster has a row").events
}

fn ids(story: &Story) -> Vec<EventId> {
    view::events(&story.rows, EventId::FIRST, 100_000).into_iter().map(|(id, _)| id).collect()
}

/// What was told of a job, with the state it was told to be in.
fn told(story: &Story, job: JobId) -> Vec<(Transition, State)> {
    let events = view::events(&story.rows, EventId::FIRST, 100_000).into_iter().map(|(_, event)| event);
    events.filter(|event| event.job == job).map(|event| (event.transition, event.state)).collect()
}

#[test]
fn a_job_that_completes_is_told_from_its_submit_to_its_collection() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit("r", 2);
    story.run(job);
    story.lead();
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    let expected = [
        (Transition::Submitted, State::Pending),
        (Transition::Executing, State::Executing),
        (Transition::Completed, State::Completed),
        (Transition::Collected, State::Completed),
    ];
    assert_eq!(told(&story, job), expected);
}

#[test]
fn an_event_says_of_which_job_it_is_when_it_happened_and_why() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.wait(5);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Permanent, "a/1 is gone");
    let (_, event) = view::events(&story.rows, EventId::FIRST, 10).pop().expect("it failed");
    assert_eq!((event.job, event.transition, event.at.at), (job, Transition::Failed, Time(5)));
    assert_eq!((event.name.as_str(), event.collection_id), ("a job", 200));
    assert_eq!(event.reason, "1/2 tasks failed: a/1 is gone");
    story.lead();
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    let (_, collected) = view::events(&story.rows, EventId::FIRST, 10).pop().expect("it was collected");
    assert_eq!((collected.transition, collected.reason), (Transition::Collected, event.reason), "its row is gone");
}

#[test]
fn failures_clean_ups_pauses_and_resumes_are_told_too() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, |spec| {
        spec.options.segments_per_task_max = 1;
        spec.options.start_paused = true;
    });
    story.lead();
    for paused in [true, false, false] {
        story.ok(Command::PauseJob { job, paused });
    }
    let begun = story.lead();
    story.copy(begun[0]);
    story.ok(Command::ReleaseTask { lease: begun[1], writes_for_ms: 0 });
    story.ok(Command::CancelJob { job });
    story.ok(Command::CancelJob { job });
    for lease in story.lead() {
        story.clean(lease);
    }
    let transitions: Vec<_> = told(&story, job).into_iter().map(|(transition, _)| transition).collect();
    let expected = [
        Transition::Submitted,
        Transition::Paused,
        Transition::Executing,
        Transition::Resumed,
        Transition::Canceled,
        Transition::CleanedUp,
    ];
    assert_eq!(transitions, expected);
}

#[test]
fn a_clean_up_that_was_given_up_is_told_as_such() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| spec.options.attempts_max = 1);
    let lease = story.lead()[0];
    story.claim(lease);
    story.fail(lease, FailureKind::Permanent, "gone");
    let clean_up = story.lead()[0];
    story.fail(clean_up, FailureKind::Transient, "throttled");
    let last = told(&story, job).pop();
    assert_eq!(last, Some((Transition::LeftOver, State::Failed)));
}

#[test]
fn a_job_without_segments_is_submitted_and_then_completed_in_one_entry() {
    let mut story = Story::new();
    let job = story.submit("r", 0);
    assert_eq!(told(&story, job), [(Transition::Submitted, State::Pending), (Transition::Completed, State::Completed)]);
    let revision = story.revision;
    assert_eq!(ids(&story), [EventId { revision, ordinal: 0 }, EventId { revision, ordinal: 1 }]);
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    assert_eq!(told(&story, job).pop(), Some((Transition::Collected, State::Completed)), "in its only page");
}

#[test]
fn a_draft_tells_nothing_and_neither_does_its_end() {
    let mut story = Story::new();
    story.ok(submit(page("r", 0, 2, &[mapping(1, 11)])));
    story.wait(limits::DRAFT_IDLE_MS);
    story.lead();
    assert_eq!((ids(&story), story.rows_of_jobs()), (vec![], 0));
}

#[test]
fn the_events_of_an_entry_are_numbered_through_all_of_its_commands() {
    let mut story = Story::new();
    for request in ["a", "b", "c"] {
        let command = submit(page(request, 0, 1, &[mapping(1, 0)]));
        apply(&mut story.rows, &command, Stamp::default(), 40).expect("submitted");
    }
    let at = |ordinal| EventId { revision: 40, ordinal };
    assert_eq!(ids(&story), [at(0), at(1), at(2)]);
    assert_eq!(log(&story).last, at(2));
    assert_eq!(check(&story.rows), []);
}

#[test]
fn a_rejected_command_tells_nothing() {
    let mut story = Story::new();
    let job = story.submit("r", 1);
    story.ok(Command::CancelJob { job });
    let before = ids(&story);
    story.refused(Command::PauseJob { job, paused: true });
    assert_eq!(ids(&story), before);
}

#[test]
fn events_expire_in_batches_once_they_have_outlived_their_retention_and_wake_nobody_for_that() {
    let mut story = Story::new();
    let old = story.submit("old", 0);
    story.wait(3 * 3_600_000);
    story.ok(Command::CollectJob { job: old });
    story.wait(RETENTION_MS - 2 * 3_600_000);
    let young = story.submit("young", 0);
    let slack_ms = RETENTION_MS / limits::EVENT_RETENTION_SLACK;
    story.ok(Command::ExpireRequests { request_ids: vec!["old".to_owned()] });
    let due = RETENTION_MS + slack_ms - story.now_ms;
    story.wait(due);
    assert!(expiry(&story).is_none(), "not before the slack is used up");
    story.wait(1);
    let command = expiry(&story).expect("the oldest has outlived its retention");
    assert_eq!(command, Command::ExpireEvents { before: Time(slack_ms + 1) });
    story.ok(command);
    assert_eq!(told(&story, old).len(), 1, "its collection was later");
    assert_eq!(told(&story, young).len(), 2);
    assert_eq!(log(&story).first, EventId { revision: 2, ordinal: 2 }, "everything behind it is kept");
    assert!(expiry(&story).is_none());
}

/// What the leader would drop now; nothing may become due by that.
fn expiry(story: &Story) -> Option<Command> {
    let plan = story.plan();
    let is_due = |at| story.rows.rows().any(|(key, _)| matches!(key, Key::Due(due, _) if *due == at));
    let due = plan.next_due.is_none_or(is_due);
    assert!(due, "the next round is due for another reason than a due row");
    plan.commands.into_iter().find(|command| matches!(command, Command::ExpireEvents { .. }))
}

#[test]
fn more_events_than_a_page_expire_in_pages_and_a_stale_page_drops_nothing_else() {
    let mut story = Story::new();
    story.checks_always = false;
    for number in 0..limits::EVENTS_PER_PAGE {
        story.submit(&format!("r{number}"), 0);
    }
    let all = 2 * limits::EVENTS_PER_PAGE;
    assert_eq!(ids(&story).len(), all);
    story.rows_touched_max = 0;
    let expire = Command::ExpireEvents { before: Time(1) };
    story.ok(expire.clone());
    assert!(story.rows_touched_max > limits::EVENTS_PER_PAGE, "{}", story.rows_touched_max);
    assert_eq!(ids(&story).len(), all - limits::EVENTS_PER_PAGE);
    assert_eq!(check(&story.rows), []);
    story.ok(expire.clone());
    story.wait(1);
    story.submit("young", 0);
    story.ok(expire);
    assert_eq!((ids(&story).len(), log(&story).kept), (2, 2));
    assert_eq!(check(&story.rows), []);
}

#[test]
fn no_more_events_are_kept_than_the_limit_and_a_page() {
    let mut story = Story::new();
    story.submit("r", 0);
    assert!(expiry(&story).is_none());
    // As many as that would take minutes to make: the counter stands for them.
    let Some(Row::Cluster(mut cluster)) = story.rows.get(&Key::Cluster) else { panic!("the cluster has a row") };
    cluster.events.kept = limits::EVENTS_KEPT_MAX + limits::EVENTS_PER_PAGE as u64;
    story.rows.put(Key::Cluster, Row::Cluster(cluster));
    story.checks_always = false;
    let command = expiry(&story).expect("there are too many");
    story.ok(command);
    assert_eq!(ids(&story), []);
    assert_eq!(log(&story).kept, limits::EVENTS_KEPT_MAX + limits::EVENTS_PER_PAGE as u64 - 2);
}

#[test]
fn what_was_delivered_moves_forward_only_and_never_beyond_the_last_event() {
    let mut story = Story::new();
    story.submit("r", 0);
    let last = log(&story).last;
    let note = |before| Command::NoteDelivered { before };
    story.ok(note(last));
    story.ok(note(EventId::FIRST));
    assert_eq!(log(&story).delivered, last);
    assert!(matches!(story.refused(note(last.next().next())), Rejection::Stale(_)));
    story.ok(note(last.next()));
    assert_eq!(log(&story).delivered, last.next());
}
