//! What a submit may not ask for: each refusal names the field and the next step, and leaves nothing.

use crate::story::{Story, mapping, page, submit};
use expect_test::expect;
use ferry_machine::command::{Command, IdMapping, SubmitPage};
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::{JobSpec, LiveOptions};

fn refusals(cases: &[&dyn Fn(&mut SubmitPage)]) -> String {
    let mut lines = String::new();
    for change in cases {
        let mut story = Story::new();
        let mut page = page("r", 0, 2, &[mapping(1, 11), mapping(2, 12)]);
        change(&mut page);
        lines += &format!("{}\n", story.refused(submit(page)));
        assert_eq!(story.rows_of_jobs(), 0);
    }
    lines
}

fn spec(change: impl Fn(&mut JobSpec)) -> impl Fn(&mut SubmitPage) {
    move |page| change(&mut page.spec)
}

#[test]
fn a_spec_that_cannot_be_is_refused() {
    let refused = refusals(&[
        &spec(|spec| spec.name = "n".repeat(10 << 20)),
        &spec(|spec| spec.source_uri = String::new()),
        &spec(|spec| spec.target_uri = "u".repeat(limits::URI_BYTES_MAX + 1)),
        &spec(|spec| spec.collection_id = 0),
        &spec(|spec| spec.options.priority = 101),
        &spec(|spec| spec.options.segments_per_task_max = 0),
        &spec(|spec| spec.options.segments_per_task_max = 101),
        &spec(|spec| spec.options.attempts_max = 0),
        &spec(|spec| spec.partition_ids = [(4, -5)].into()),
        &spec(|spec| spec.labels = (0..65).map(|number| (number.to_string(), String::new())).collect()),
        &spec(|spec| spec.labels = [("key".to_owned(), "v".repeat(257))].into()),
        &spec(|spec| spec.segments = limits::MAPPINGS_PER_JOB_MAX + 1),
    ]);
    expect![[r#"
        name: has 10485760 bytes, and 256 at most are allowed: shorten it
        source.uri: is empty: give a URI such as file:///data or s3://bucket/prefix
        target.uri: has 4097 bytes, and 4096 at most are allowed: shorten it
        target.collection_id: must be positive: name the collection of the targets
        options.priority: is 101: choose 0 to 100
        options.segments_per_task_max: is 0: choose 1 to 100
        options.segments_per_task_max: is 101: choose 1 to 100
        options.attempts_max: is 0: choose 1 to 1000
        target.partition_ids[4]: cannot be -5: a target partition is positive, a source one -1 or more
        options.labels: there may be 64 at most: drop some
        options.labels[key]: has 257 bytes, and 256 at most are allowed: shorten it
        the limit of 10000000 mappings per job is reached: split the job
    "#]]
    .assert_eq(&refused);
}

#[test]
fn mappings_that_cannot_be_are_refused() {
    let with = |mappings: &'static [(i64, i64)]| {
        move |page: &mut SubmitPage| {
            page.mappings = mappings.iter().map(|(source, target)| mapping(*source, *target)).collect();
        }
    };
    let refused = refusals(&[
        &|page| page.request_id = String::new(),
        &|page| page.hash_before = vec![0; 65],
        &|page| page.request_hash = vec![0; 65],
        &|page| page.offset = 7,
        &with(&[(1, 11), (1, 12)]),
        &with(&[(1, 11), (2, 11)]),
        &with(&[(0, 11), (2, 12)]),
        &with(&[(1, 11), (2, -12)]),
        &with(&[(1, 11), (2, 5_000)]),
        &with(&[(1, 11), (2, 12), (3, 13)]),
        &|page| page.mappings[1] = IdMapping { partition_id: -3, ..page.mappings[1] },
        &|page| page.mappings = (1..=301).map(|source| mapping(source, 0)).collect(),
    ]);
    expect![[r#"
        request_id: is empty: name the request, so that a retry finds its job
        hash_before: is longer than 64 bytes: send a digest
        request_hash: is longer than 64 bytes: send a digest
        only 0 mappings of this submit are in: send the page that begins there
        id_mappings[1].source_segment_id: 1 is listed twice: copy each source once
        id_mappings[1].target_segment_id: 11 is listed twice: give each source a target of its own
        id_mappings[0].source_segment_id: is 0: a segment's id is positive
        id_mappings[1].target_segment_id: is -12: give a positive id, or 0 to have one chosen
        target segment 5000 was not allocated: ids from 1000 on come from AllocateIds; use 0 to have one chosen
        id_mappings: there are more than the 2 that the first page announced
        id_mappings[1].partition_id: is -3: give a positive id, or 0 for the source's own
        id_mappings: a page has 180 at most: send more pages
    "#]]
    .assert_eq(&refused);
}

#[test]
fn a_target_that_was_listed_on_an_earlier_page_is_refused() {
    let mut story = Story::new();
    story.ok(submit(page("r", 0, 2, &[mapping(1, 11)])));
    let rejection = story.refused(submit(page("r", 1, 2, &[mapping(2, 11)])));
    assert!(matches!(&rejection, Rejection::Invalid { field, .. } if field == "id_mappings[1].target_segment_id"));
}

#[test]
fn targets_are_the_callers_own_below_the_start_and_allocated_ones_above_it() {
    let mut story = Story::new();
    let Outcome::Ids { first, .. } = story.ok(Command::ReserveIds { count: 2 }) else { panic!("ids") };
    let mappings = [mapping(1, 999), mapping(2, first), mapping(3, 0)];
    let job = story.submit_mappings("r", &mappings, |_| {});
    let next_id = ferry_machine::view::cluster(&story.rows).expect("the cluster has a row").next_id;
    let rejection = story.refused(submit(page("s", 0, 1, &[mapping(1, next_id + 1)])));
    assert!(matches!(rejection, Rejection::TargetNotAllocated { .. }));
    assert_eq!(story.job(job).mappings, 3);
}

#[test]
fn live_options_can_be_changed_while_a_job_lives() {
    let mut story = Story::new();
    let job = story.submit("r", 1);
    let update = |change| Command::UpdateJob { job, change };
    let priority = |priority| update(LiveOptions { priority: Some(priority), ..LiveOptions::default() });
    story.ok(priority(90));
    let (bandwidth_bytes_per_second, requests_per_second) = (Some(1_000), Some(20));
    story.ok(update(LiveOptions { bandwidth_bytes_per_second, requests_per_second, ..LiveOptions::default() }));
    story.ok(update(LiveOptions { attempts_at_once_max: Some(3), ..LiveOptions::default() }));
    let options = story.job(job).spec.options;
    assert_eq!((options.priority, options.bandwidth_bytes_per_second), (90, 1_000));
    assert_eq!((options.requests_per_second, options.attempts_at_once_max), (20, 3));
    assert!(matches!(story.refused(priority(101)), Rejection::Invalid { .. }));
    story.ok(Command::CancelJob { job });
    assert_eq!(story.ok(Command::CancelJob { job }), Outcome::Job(job), "asked for twice");
    assert!(matches!(story.refused(priority(1)), Rejection::WrongState { state: "canceled", .. }));
    assert!(matches!(story.refused(Command::PauseJob { job, paused: true }), Rejection::WrongState { .. }));
}

#[test]
fn nothing_happens_before_the_bootstrap_and_a_second_one_changes_nothing() {
    let mut rows = ferry_machine::tables::Memory::default();
    let now = ferry_machine::time::Stamp::default();
    let early = ferry_machine::apply(&mut rows, &Command::Tick, now, 1);
    assert_eq!((early, rows.rows().count()), (Err(Rejection::NotBootstrapped), 0));
    let wrong = Command::Bootstrap { cluster_id: 1, id_start: 0 };
    assert!(ferry_machine::apply(&mut rows, &wrong, now, 1).is_err());
    let mut story = Story::new();
    let again = story.ok(Command::Bootstrap { cluster_id: 99, id_start: 5 });
    assert_eq!(again, Outcome::Bootstrapped { cluster_id: 7 });
}

#[test]
fn a_rejected_command_moves_the_clock() {
    let mut story = Story::new();
    story.wait(500);
    story.refused(Command::ReserveIds { count: 0 });
    let now = || ferry_machine::view::cluster(&story.rows).map(|cluster| cluster.now.0);
    assert_eq!(now(), Some(500));
    story.now_ms = 100;
    story.ok(Command::Tick);
    assert_eq!(ferry_machine::view::cluster(&story.rows).map(|cluster| cluster.now.0), Some(500), "and never back");
}

#[test]
fn a_target_that_the_same_page_was_just_given_is_listed_twice() {
    let mut story = Story::new();
    let next = story.reserve(1) + 1;
    // The job takes the next id, its first target the one behind that.
    let page = page("r", 0, 2, &[mapping(1, 0), mapping(2, next + 1)]);
    let told = story.refused(submit(page)).to_string();
    assert_eq!(
        told,
        format!("id_mappings[1].target_segment_id: {} is listed twice: give each source a target of its own", next + 1)
    );
}
