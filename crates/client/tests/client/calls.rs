//! Calls against real servers in this process: who is asked, what is repeated, and when a call gives up.

use crate::support::{Node, Reply, nobody};
use ferry_client::{Client, Code, Error, Options};
use ferry_proto::v1::{CheckInvariantsRequest, SubmitJobRequest};
use std::time::{Duration, Instant};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Status, transport::Channel};
use tonic_types::{ErrorDetails, StatusExt};

fn options() -> Options {
    Options { timeout: Duration::from_secs(20), ..Options::default() }
}

fn unavailable() -> Reply {
    Reply::Status(Status::unavailable("no leader is known; try again"))
}

fn led_by(leader_id: u64) -> Reply {
    let mut metadata = MetadataMap::new();
    metadata.insert("ferry-leader-id", MetadataValue::from(leader_id));
    Reply::Status(Status::with_metadata(Code::Unavailable, "this node does not lead", metadata))
}

#[tokio::test]
async fn a_node_that_is_down_is_passed_over() {
    let (node, address) = Node::start(vec![]).await;
    let client = Client::new([nobody().await, address.clone()], options()).expect("good endpoints");
    let answer = client.allocate_ids(3).await.expect("the second node answers");
    assert_eq!((answer.first_id, answer.count, answer.endpoint.as_str()), (7, 3, address.as_str()));
    assert_eq!(client.current_endpoint(), address, "the node that answered is asked next time");
    assert_eq!(node.asked().len(), 1);
}

#[tokio::test]
async fn a_submit_is_repeated_with_the_request_id_it_began_with() {
    let (node, address) = Node::start(vec![unavailable(), unavailable()]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    let answer = client.submit_job(SubmitJobRequest::default()).await.expect("the third try is answered");
    let ids: Vec<String> = node.asked().into_iter().map(|asked| asked.request_id).collect();
    let made = answer.message.job.expect("a job").request_id;
    assert!(!made.is_empty());
    assert_eq!(ids, vec![made.clone(), made.clone(), made]);
}

#[tokio::test]
async fn a_request_id_of_the_caller_is_kept() {
    let (node, address) = Node::start(vec![]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    let request = SubmitJobRequest { request_id: "mine".to_owned(), ..Default::default() };
    client.submit_job(request).await.expect("an answer");
    assert_eq!(node.asked()[0].request_id, "mine");
}

#[tokio::test]
async fn the_leader_that_a_node_names_is_asked_next() {
    let (leader, leader_address) = Node::start(vec![]).await;
    let (follower, follower_address) = Node::start(vec![led_by(2)]).await;
    follower.knows(vec![(1, follower_address.clone()), (2, leader_address.clone())]);
    let client = Client::new([follower_address], options()).expect("good endpoints");
    let answer = client.allocate_ids(1).await.expect("the leader answers");
    assert_eq!(answer.endpoint, leader_address);
    assert_eq!((follower.asked().len(), leader.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_client_that_is_to_stay_asks_its_own_node_again() {
    let (leader, leader_address) = Node::start(vec![]).await;
    let (follower, follower_address) = Node::start(vec![led_by(2)]).await;
    follower.knows(vec![(2, leader_address)]);
    let stays = Options { follow_leader: false, ..options() };
    let client = Client::new([follower_address], stays).expect("good endpoints");
    client.allocate_ids(1).await.expect("the second try is answered");
    assert_eq!((follower.asked().len(), leader.asked().len()), (2, 0));
}

#[tokio::test]
async fn no_answer_may_be_older_than_one_that_was_seen() {
    let (first, first_address) = Node::start(vec![Reply::At(41), Reply::At(40), unavailable()]).await;
    let (second, second_address) = Node::start(vec![]).await;
    let client = Client::new([first_address, second_address], options()).expect("good endpoints");
    assert_eq!(client.allocate_ids(1).await.expect("an answer").revision, Some(41));
    client.clone().allocate_ids(1).await.expect("an answer");
    client.allocate_ids(1).await.expect("an answer of the second node");
    let wanted = |node: &Node| node.asked().into_iter().map(|asked| asked.min_revision).collect::<Vec<_>>();
    assert_eq!(wanted(&first), vec![None, Some(41), Some(41)]);
    assert_eq!(wanted(&second), vec![Some(41)]);
    assert_eq!(client.revision(), 41);
}

#[tokio::test]
async fn a_refusal_is_final_and_names_its_fields() {
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("count", "must be 1 to 1,000,000");
    let refusal = Status::with_error_details(Code::InvalidArgument, "count: must be 1 to 1,000,000", details);
    let (node, address) = Node::start(vec![Reply::Status(refusal)]).await;
    let client = Client::new([address], options()).expect("good endpoints");
    let error = client.allocate_ids(0).await.expect_err("a refusal");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.violations()[0].field, "count");
    assert_eq!(error.to_string(), "count: must be 1 to 1,000,000");
    assert_eq!(node.asked().len(), 1, "asked once");
}

#[tokio::test]
async fn a_call_gives_up_at_its_deadline_with_the_nodes_own_words() {
    let (node, address) = Node::start((0..10_000).map(|_| unavailable()).collect()).await;
    let limit = Duration::from_millis(300);
    let client = Client::new([address], options().with_timeout(limit)).expect("good endpoints");
    let begun = Instant::now();
    let error = client.allocate_ids(1).await.expect_err("never available");
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.to_string(), "no leader is known; try again");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert!(node.asked().len() > 1, "it was tried more than once");
    assert!(node.asked().len() < 100, "with pauses: {} tries", node.asked().len());
}

#[tokio::test]
async fn a_silent_node_is_left_after_one_tries_time() {
    let (_silent, silent_address) = Node::start(vec![Reply::Silence]).await;
    let (_other, other_address) = Node::start(vec![]).await;
    let quick = Options { try_timeout: Duration::from_millis(100), ..options() };
    let client = Client::new([silent_address, other_address.clone()], quick).expect("good endpoints");
    assert_eq!(client.allocate_ids(1).await.expect("the other answers").endpoint, other_address);
}

#[tokio::test]
async fn a_check_may_take_longer_than_one_tries_time() {
    let (_silent, address) = Node::start(vec![Reply::Silence]).await;
    let limits =
        Options { try_timeout: Duration::from_millis(10), timeout: Duration::from_millis(300), ..Options::default() };
    let client = Client::new([address.clone()], limits).expect("good endpoints");
    let error = client.check_invariants(CheckInvariantsRequest::default()).await.expect_err("no answer");
    match error {
        Error::TimedOut { endpoint, after } => {
            assert_eq!(endpoint, address);
            assert!(after > Duration::from_millis(200), "one try had all the time, not {after:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_there_says_where_and_what_to_do() {
    let address = nobody().await;
    let limits = options().with_timeout(Duration::from_millis(200));
    let client = Client::new([address.clone()], limits).expect("good endpoints");
    let error = client.allocate_ids(1).await.expect_err("nobody listens");
    assert_eq!(error.code(), Code::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("check that it runs"), "{text}");
}

#[tokio::test]
async fn endpoints_that_are_no_addresses_are_refused_by_name() {
    for bad in ["", "localhost", "http://localhost:7401", "localhost:0", "localhost:70000", ":7401", "a b:1"] {
        let error = Client::new([bad], options()).expect_err(bad);
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
    }
    let error = Client::new(Vec::<String>::new(), options()).expect_err("none");
    assert_eq!(error, Error::NoEndpoint);
    let _channel: Channel = Client::new(["[::1]:7401"], options()).expect("IPv6").channel("n1:7401").expect("a name");
}
