//! Streamed submits against real servers in this process: what is sent, what is sent again, and when they give up.

use crate::support::{Node, Reply, nobody};
use ferry_client::{Client, Code, MappingSource, Options};
use ferry_proto::v1::{IdMapping, SubmitJobRequest};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::Status;

const MAPPINGS: i64 = 2_500;

fn mapping(source_segment_id: i64) -> IdMapping {
    IdMapping { source_segment_id, ..IdMapping::default() }
}

fn mappings() -> Vec<IdMapping> {
    (1..=MAPPINGS).map(mapping).collect()
}

/// Good mappings, but for the place where they cannot be read.
struct Numbers {
    unreadable: Option<i64>,
}

impl MappingSource for Numbers {
    fn open(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<IdMapping>> + Send>> {
        let unreadable = self.unreadable;
        let read = move |source| match unreadable == Some(source) {
            true => Err(io::Error::other("m.csv, line 7: the disk is gone")),
            false => Ok(mapping(source)),
        };
        Ok(Box::new((1..=MAPPINGS).map(read)))
    }
}

async fn submit(
    client: &Client,
    unreadable: Option<i64>,
) -> (Result<ferry_client::Answer<ferry_proto::v1::SubmitJobStreamResponse>, ferry_client::Error>, u64) {
    let told = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&told);
    let progress = move |sent| _ = progress.fetch_max(sent, Ordering::Relaxed);
    let source = Arc::new(Numbers { unreadable });
    let answer = client.submit_job_stream(SubmitJobRequest::default(), MAPPINGS, source, progress).await;
    (answer, told.load(Ordering::Relaxed))
}

fn options(timeout: Duration) -> Options {
    Options { timeout, ..Options::default() }
}

#[tokio::test]
async fn a_stream_goes_to_the_next_node_whole_and_under_the_same_request_id() {
    let (first, first_address) = Node::start(vec![Reply::Status(Status::unavailable("the leader is gone"))]).await;
    let (second, second_address) = Node::start(vec![Reply::At(9)]).await;
    let endpoints = [nobody().await, first_address, second_address];
    let client = Client::new(endpoints, options(Duration::from_secs(20))).expect("good endpoints");
    let (answer, told) = submit(&client, None).await;
    let answer = answer.expect("the last node takes it");
    assert_eq!((answer.revision, told), (Some(9), 2_500));
    for node in [&first, &second] {
        assert_eq!(node.streams(), [mappings()], "every mapping, each time");
    }
    let ids: Vec<String> = [&first, &second].iter().map(|node| node.asked()[0].request_id.clone()).collect();
    assert!(!ids[0].is_empty() && ids[0] == ids[1], "{ids:?}");
}

#[tokio::test]
async fn mappings_that_cannot_be_read_are_no_end_of_the_stream() {
    let (node, address) = Node::start(vec![]).await;
    let client = Client::new([address], options(Duration::from_secs(20))).expect("good endpoints");
    let (answer, _) = submit(&client, Some(2_100)).await;
    let error = answer.expect_err("the file is bad");
    assert_eq!((error.code(), error.to_string().as_str()), (Code::InvalidArgument, "m.csv, line 7: the disk is gone"));
    assert_eq!(node.streams(), Vec::<Vec<IdMapping>>::new(), "no node was told that these are all");
}

#[tokio::test]
async fn a_stream_that_does_not_get_on_is_given_up() {
    let (_, address) = Node::start(vec![Reply::Silence, Reply::Silence, Reply::Silence]).await;
    let client = Client::new([address], options(Duration::from_millis(600))).expect("good endpoints");
    let (answer, _) = submit(&client, None).await;
    let error = answer.expect_err("nobody answers");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}
