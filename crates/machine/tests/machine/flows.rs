//! Whole lives of jobs as transcripts: every command that the log would hold, and what it answers.

use crate::story::{Story, mapping};
use expect_test::expect_file;
use ferry_machine::command::{Command, FailureKind};

#[test]
fn a_job_from_submit_to_collection() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_mappings("r", &[mapping(1, 11), mapping(2, 12), mapping(3, 0)], |spec| {
        spec.options.segments_per_task_max = 2;
    });
    story.run(job);
    story.lead();
    story.wait(3 * 3_600_000);
    story.lead();
    story.wait(24 * 3_600_000);
    story.lead();
    expect_file!["flows/completed.txt"].assert_eq(&story.log());
}

#[test]
fn a_job_that_fails_and_is_cleaned_up() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    story.copy(begun[0]);
    story.fail(begun[1], FailureKind::Transient, "throttled");
    story.wait(60_000);
    let again = story.lead()[0];
    story.fail(again, FailureKind::Permanent, "source object a/1 is shorter than its manifest says");
    for lease in story.lead() {
        story.clean(lease);
    }
    let late = story.copied(again);
    story.refused(late);
    story.refused(Command::PauseJob { job, paused: true });
    expect_file!["flows/failed.txt"].assert_eq(&story.log());
}
