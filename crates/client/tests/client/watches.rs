//! Watches and waits against real servers in this process: nothing goes back, nothing is missed, nothing hangs.

use crate::support::{End, Node, Reply};
use ferry_client::{Client, Code, Options};
use ferry_proto::v1::{
    Consistency, Job, JobEvent, JobState, WatchEventsRequest, WatchEventsResponse, WatchJobResponse,
};
use std::time::Duration;
use tonic::Status;

fn options() -> Options {
    Options { timeout: Duration::from_secs(20), ..Options::default() }
}

fn update(revision: u64, state: JobState, copied_segments: i64) -> WatchJobResponse {
    let job = Job { job_id: 1, state: state.into(), copied_segments, duration_ms: revision, ..Default::default() };
    WatchJobResponse { job: Some(job), revision }
}

async fn revisions(client: &Client) -> Vec<u64> {
    let mut watch = client.watch_job(1, Consistency::Linearizable);
    let mut seen = Vec::new();
    while let Some(update) = watch.next().await.expect("an update") {
        seen.push(update.revision);
    }
    assert_eq!(watch.next().await.expect("the end"), None, "the end stays the end");
    seen
}

#[tokio::test]
async fn a_watch_goes_on_at_another_node_without_falling_back_or_repeating() {
    let lost = End::Status(Status::unavailable("the node shuts down; watch on another"));
    let begun = vec![update(10, JobState::Pending, 0), update(12, JobState::Executing, 3)];
    let (_first, first_address) = Node::start(vec![Reply::Updates(begun, lost)]).await;
    let behind = vec![
        update(11, JobState::Executing, 1),
        update(12, JobState::Executing, 3),
        update(13, JobState::Executing, 3),
        update(15, JobState::Executing, 7),
        update(16, JobState::Completed, 9),
    ];
    let (second, second_address) = Node::start(vec![Reply::Updates(behind, End::Closed)]).await;
    let client = Client::new([first_address, second_address], options()).expect("good endpoints");
    assert_eq!(revisions(&client).await, vec![10, 12, 15, 16]);
    assert_eq!(second.asked()[0].min_revision, Some(12), "the second node is asked for nothing older");
}

#[tokio::test]
async fn a_stream_that_just_ends_is_opened_again() {
    let first = Reply::Updates(vec![update(3, JobState::Executing, 0)], End::Closed);
    let nothing = Reply::Updates(vec![], End::Closed);
    let last = Reply::Updates(vec![update(9, JobState::Failed, 0)], End::Closed);
    let (node, address) = Node::start(vec![first, nothing, last]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    assert_eq!(revisions(&client).await, vec![3, 9]);
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test]
async fn a_watch_that_gets_nowhere_gives_up() {
    let nothing = (0..10_000).map(|_| Reply::Updates(vec![], End::Closed)).collect();
    let (_node, address) = Node::start(nothing).await;
    let client = Client::new([address], options().with_timeout(Duration::from_millis(200))).expect("good endpoints");
    let error = client.watch_job(1, Consistency::Linearizable).next().await.expect_err("no update ever");
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_watch_of_a_job_that_is_not_there_says_so() {
    let (_node, address) = Node::start(vec![Reply::Status(Status::not_found("job 1: there is none"))]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    let error = client.watch_job(1, Consistency::Linearizable).next().await.expect_err("no such job");
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn a_wait_is_made_of_steps_and_survives_a_lost_leader() {
    let step_over = || Reply::Status(Status::deadline_exceeded("the job has not ended"));
    let lost = || Reply::Status(Status::unavailable("no leader is known; try again"));
    let (node, address) = Node::start(vec![step_over(), lost(), step_over()]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    let answer = client.wait_job(1, None).await.expect("the fourth call is answered");
    assert_eq!(answer.message.job.expect("a job").job_id, 1);
    assert_eq!(node.asked().len(), 4);
}

#[tokio::test]
async fn a_wait_that_takes_too_long_is_a_missed_deadline() {
    let (_node, address) = Node::start(vec![Reply::Status(Status::deadline_exceeded("the job has not ended"))]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    let error = client.wait_job(1, Some(Duration::from_millis(1))).await.expect_err("not ended");
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

fn events(ids: &[(u64, u32)], next_revision: u64, next_ordinal: u32) -> WatchEventsResponse {
    let event =
        |(revision, ordinal): &(u64, u32)| JobEvent { revision: *revision, ordinal: *ordinal, ..JobEvent::default() };
    let events = ids.iter().map(event).collect();
    WatchEventsResponse { events, next_revision, next_ordinal, revision: next_revision }
}

#[tokio::test]
async fn a_watch_of_events_goes_on_at_another_node_exactly_where_it_was() {
    let lost = End::Status(Status::unavailable("the node shuts down; watch on another"));
    let begun = vec![events(&[], 9, 0), events(&[(9, 0), (9, 1)], 9, 2)];
    let (first, first_address) = Node::start(vec![Reply::Events(begun, lost)]).await;
    // What has expired cannot be made up for by another node.
    let gone = End::Status(Status::out_of_range("events from 14.0 on have expired"));
    let behind = Reply::Events(vec![events(&[(9, 2), (12, 0)], 14, 0)], gone);
    let (second, second_address) = Node::start(vec![behind]).await;
    let client = Client::new([first_address, second_address], options()).expect("good endpoints");
    let mut watch = client.watch_events(WatchEventsRequest { from_revision: Some(5), ..WatchEventsRequest::default() });
    let mut seen = Vec::new();
    let error = loop {
        match watch.next().await {
            Ok(response) => seen.extend(response.events.iter().map(|event| (event.revision, event.ordinal))),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, [(9, 0), (9, 1), (9, 2), (12, 0)]);
    let asked: Vec<_> = first.asked().into_iter().chain(second.asked()).map(|asked| asked.request_id).collect();
    assert_eq!(asked, ["(Some(5), 0)", "(Some(9), 2)"]);
    assert_eq!(error.code(), Code::OutOfRange);
}
