//! Streamed submits as clients send them: whole, twice, broken off, wrong, to any node.

use crate::support::{Cluster, PATIENCE, SAMPLE_SEGMENTS, eventually, large_snapshot, sample, submit};
use ferry_proto::v1;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::submit_job_stream_request::Part;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const SEGMENTS: i64 = 1_000;

fn mapping(source: i64, target: i64) -> v1::IdMapping {
    v1::IdMapping { source_segment_id: source, target_segment_id: target, partition_id: 0 }
}

/// Every segment of a large snapshot, each with a target of its own.
fn mappings() -> Vec<v1::IdMapping> {
    (1..=SEGMENTS).map(|source| mapping(source, 10_000 + source)).collect()
}

fn header(source: &Path, request_id: &str, total_mappings: usize) -> v1::SubmitJobStreamHeader {
    let request = Some(v1::SubmitJobRequest { request_id: request_id.into(), ..submit(source) });
    v1::SubmitJobStreamHeader { request, total_mappings: i64::try_from(total_mappings).unwrap() }
}

fn page(id_mappings: &[v1::IdMapping]) -> Part {
    Part::Page(v1::SubmitJobStreamPage { id_mappings: id_mappings.to_vec() })
}

fn parts(header: v1::SubmitJobStreamHeader, mappings: &[v1::IdMapping], per_page: usize) -> Vec<Part> {
    std::iter::once(Part::Header(header)).chain(mappings.chunks(per_page).map(page)).collect()
}

async fn send(
    mut client: JobServiceClient<Channel>,
    parts: impl IntoIterator<Item = Part>,
) -> Result<v1::SubmitJobStreamResponse, Status> {
    let messages: Vec<_> = parts.into_iter().map(|part| v1::SubmitJobStreamRequest { part: Some(part) }).collect();
    client.submit_job_stream(tokio_stream::iter(messages)).await.map(tonic::Response::into_inner)
}

/// A stream that a test sends by hand, and breaks off.
struct Open {
    parts: mpsc::Sender<v1::SubmitJobStreamRequest>,
    call: tokio::task::JoinHandle<Result<(), Status>>,
}

impl Open {
    fn begin(mut client: JobServiceClient<Channel>) -> Self {
        let (parts, messages) = mpsc::channel(1);
        let call = async move { client.submit_job_stream(ReceiverStream::new(messages)).await.map(|_| ()) };
        Self { parts, call: tokio::spawn(call) }
    }

    async fn with_header(cluster: &Cluster, header: v1::SubmitJobStreamHeader) -> Self {
        let open = Self::begin(cluster.nodes[0].jobs());
        open.send(Part::Header(header)).await;
        open
    }

    async fn send(&self, part: Part) {
        self.parts.send(v1::SubmitJobStreamRequest { part: Some(part) }).await.unwrap();
    }

    /// The connection of the call goes without an end of the stream.
    async fn break_off(self) {
        self.call.abort();
        assert!(self.call.await.unwrap_err().is_cancelled(), "the call had no answer");
    }
}

async fn targets(cluster: &Cluster, job_id: i64) -> Vec<(i64, i64)> {
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSegmentsRequest { job_id, page_size: 1_000, page_token, ..Default::default() };
        let page = cluster.nodes[0].segments().list_segments(request).await.unwrap().into_inner();
        seen.extend(page.segments.iter().map(|segment| (segment.source_segment_id, segment.segment_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return seen;
        }
    }
}

async fn jobs(cluster: &Cluster) -> Vec<v1::Job> {
    cluster.nodes[0].jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner().jobs
}

/// Waits until a draft holds the target, as a dry run of another submit tells.
async fn held(cluster: &Cluster, target: i64) {
    eventually("a draft holds the target", || async {
        conflicts(cluster, target).await.filter(|conflicts| *conflicts == 1)
    })
    .await;
}

/// Conflicts that a dry run of another submit with this target is told.
async fn conflicts(cluster: &Cluster, target: i64) -> Option<i64> {
    let id_mappings = vec![mapping(SAMPLE_SEGMENTS[0], target)];
    let request = v1::SubmitJobRequest { dry_run: true, id_mappings, ..submit(&sample()) };
    Some(cluster.nodes[0].jobs().submit_job(request).await.ok()?.into_inner().plan?.total_conflicts)
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_the_same_stream_twice_is_one_job_whatever_its_pages_and_whichever_node_takes_it() {
    let cluster = Cluster::start(3).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, SEGMENTS);
    let mappings = mappings();
    let first = send(cluster.nodes[0].jobs(), parts(header(&source, "once", 1_000), &mappings, 1_000)).await.unwrap();
    let job = first.job.unwrap();
    assert_eq!((job.total_segments, first.already_existed), (SEGMENTS, false));
    let expected: Vec<_> = mappings.iter().map(|one| (one.source_segment_id, one.target_segment_id)).collect();
    assert_eq!(targets(&cluster, job.job_id).await, expected);
    // The snapshot is needed no more: what is known is only compared.
    std::fs::remove_dir_all(&source).unwrap();
    for (node, per_page) in cluster.nodes.iter().zip([1_000, 7, 301]) {
        let again = send(node.jobs(), parts(header(&source, "once", 1_000), &mappings, per_page)).await.unwrap();
        assert_eq!((again.job.unwrap().job_id, again.already_existed), (job.job_id, true));
    }
    let id_mappings = mappings.clone();
    let unary = v1::SubmitJobRequest { request_id: "once".into(), id_mappings, ..submit(&source) };
    let unary = cluster.nodes[1].jobs().submit_job(unary).await.unwrap().into_inner();
    assert_eq!((unary.job.unwrap().job_id, unary.already_existed), (job.job_id, true), "a submit is equal to a stream");
    let mut others = vec![mappings[..999].to_vec(), mappings.clone()];
    others[1][999].target_segment_id += 1;
    for other in others {
        let stream = parts(header(&source, "once", other.len()), &other, 300);
        let status = send(cluster.nodes[2].jobs(), stream).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
        assert!(status.message().contains("use a new request id"), "{}", status.message());
    }
    assert_eq!(jobs(&cluster).await.len(), 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_a_stream_that_broke_off_is_no_job_and_goes_on_with_the_same_mappings_alone() {
    let cluster = Cluster::start(3).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, SEGMENTS);
    // The allocator chooses every second target.
    let mut mappings = mappings();
    mappings.iter_mut().skip(1).step_by(2).for_each(|one| one.target_segment_id = 0);
    let leader = cluster.leader().await;
    for node in [leader, (leader + 1) % 3] {
        let open = Open::begin(cluster.nodes[node].jobs());
        open.send(Part::Header(header(&source, "large", 1_000))).await;
        open.send(page(&mappings[..700])).await;
        held(&cluster, 10_539).await;
        open.break_off().await;
    }
    assert_eq!(jobs(&cluster).await, [], "nobody sees half a job");
    let request = v1::GetSegmentRequest { segment_id: 10_539, consistency: 0 };
    let status = cluster.nodes[0].segments().get_segment(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut other = mappings.clone();
    other[3].target_segment_id = 77;
    let status = send(cluster.nodes[0].jobs(), parts(header(&source, "large", 1_000), &other, 200)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    let fewer = parts(header(&source, "large", 500), &mappings[..500], 200);
    let status = send(cluster.nodes[0].jobs(), fewer).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    let id_mappings = mappings[..100].to_vec();
    let unary = v1::SubmitJobRequest { request_id: "large".into(), id_mappings, ..submit(&source) };
    let status = cluster.nodes[0].jobs().submit_job(unary).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    assert_eq!(conflicts(&cluster, 10_539).await, Some(1), "another request takes nothing from the draft");

    let stream = parts(header(&source, "large", 1_000), &mappings, 200);
    let answer = send(cluster.nodes[(leader + 2) % 3].jobs(), stream).await.unwrap();
    let job = answer.job.unwrap();
    assert_eq!((job.total_segments, answer.already_existed), (SEGMENTS, false));
    let mut targets = targets(&cluster, job.job_id).await;
    targets.sort_unstable();
    assert_eq!(targets.iter().map(|(source, _)| *source).collect::<Vec<_>>(), (1..=SEGMENTS).collect::<Vec<_>>());
    for (one, (_, target)) in mappings.iter().zip(&targets) {
        assert!(one.target_segment_id == 0 || one.target_segment_id == *target, "{one:?} became {target}");
    }
    let check = cluster.nodes[0].cluster().check_invariants(v1::CheckInvariantsRequest::default()).await.unwrap();
    let violations = check.into_inner().violations;
    assert!(violations.is_empty(), "{violations:?}");
    cluster.stop_all().await;
}

/// One bad stream: its parts, the code, the field or words of the message.
struct Bad(Vec<Part>, Code, &'static str);

fn changed(source: &Path, total: usize, change: impl Fn(&mut v1::SubmitJobStreamHeader)) -> v1::SubmitJobStreamHeader {
    let mut header = header(source, "bad", total);
    change(&mut header);
    header
}

fn bad_streams(source: &Path) -> Vec<Bad> {
    let good = mappings();
    let with = |index: usize, one: v1::IdMapping| {
        let mut mappings = good.clone();
        mappings[index] = one;
        parts(header(source, "bad", 1_000), &mappings, 400)
    };
    let only = |header: v1::SubmitJobStreamHeader| parts(header, &good[..1], 1);
    let no_id = changed(source, 1, |header| header.request.as_mut().unwrap().request_id.clear());
    let with_mappings = changed(source, 1, |header| {
        header.request.as_mut().unwrap().id_mappings = vec![mapping(1, 1)];
    });
    let dry = changed(source, 1, |header| header.request.as_mut().unwrap().dry_run = true);
    let no_target = changed(source, 1, |header| {
        header.request.as_mut().unwrap().target.as_mut().unwrap().uri.clear();
    });
    let none = changed(source, 0, |_| {});
    let many = changed(source, 10_000_001, |_| {});
    let twice = [Part::Header(header(source, "bad", 2)), page(&good[..1]), Part::Header(header(source, "bad", 2))];
    vec![
        Bad(vec![page(&good)], Code::InvalidArgument, "header: is not the first message"),
        Bad(Vec::new(), Code::InvalidArgument, "header: is not the first message"),
        Bad(twice.to_vec(), Code::InvalidArgument, "header: came twice"),
        Bad(only(no_id), Code::InvalidArgument, "header.request.request_id: is empty"),
        Bad(only(with_mappings), Code::InvalidArgument, "header.request.id_mappings: are set"),
        Bad(only(dry), Code::InvalidArgument, "header.request.dry_run: is set"),
        Bad(only(no_target), Code::InvalidArgument, "target.uri: is empty"),
        Bad(only(none), Code::InvalidArgument, "header.total_mappings: is 0"),
        Bad(only(many), Code::ResourceExhausted, "header.total_mappings: is 10000001"),
        Bad(
            parts(header(source, "bad", 999), &good, 400),
            Code::InvalidArgument,
            "id_mappings[999]: is more than header.total_mappings announced, which is 999",
        ),
        // As many as whole pages hold: the last of those is no job yet.
        Bad(
            parts(header(source, "bad", 900), &good, 300),
            Code::InvalidArgument,
            "id_mappings[900]: is more than header.total_mappings announced, which is 900",
        ),
        Bad(with(650, mapping(0, 5)), Code::InvalidArgument, "id_mappings[650].source_segment_id: is 0"),
        Bad(with(650, mapping(651, -5)), Code::InvalidArgument, "id_mappings[650].target_segment_id: is -5"),
        Bad(
            with(650, mapping(5_000, 5)),
            Code::InvalidArgument,
            "id_mappings[650].source_segment_id: is 5000, which the snapshot",
        ),
        Bad(
            with(650, mapping(7, 5)),
            Code::InvalidArgument,
            "id_mappings[650].source_segment_id: is 7, which an earlier mapping names",
        ),
        Bad(
            with(650, mapping(651, 10_007)),
            Code::InvalidArgument,
            "id_mappings[650].target_segment_id: 10007 is listed twice",
        ),
        // The last one: what is in of it stays, for the stream to be sent again.
        Bad(
            parts(header(source, "short", 1_001), &good, 400),
            Code::InvalidArgument,
            "header.total_mappings: is 1001, but the stream ended after 1000",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_stream_is_refused_with_the_place_of_what_is_wrong_and_leaves_nothing() {
    let cluster = Cluster::start(1).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, SEGMENTS);
    for (index, Bad(stream, code, words)) in bad_streams(&source).into_iter().enumerate() {
        let status = send(cluster.nodes[0].jobs(), stream).await.expect_err(words);
        assert_eq!(status.code(), code, "row {index}: {status:?}");
        assert!(status.message().starts_with(words), "row {index}: {}", status.message());
        if code == Code::InvalidArgument {
            assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 1, "row {index}");
        }
        if words.starts_with("id_mappings") {
            assert_eq!(
                conflicts(&cluster, 10_001).await,
                Some(0),
                "row {index}: whatever the refused one held is free"
            );
        }
    }
    assert_eq!(jobs(&cluster).await, [], "what was refused is no job");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_all_mappings_without_the_end_of_the_stream_are_no_job_yet() {
    let cluster = Cluster::start(1).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, SEGMENTS);
    let mappings = &mappings()[..900];
    let open = Open::begin(cluster.nodes[0].jobs());
    open.send(Part::Header(header(&source, "whole pages", 900))).await;
    open.send(page(mappings)).await;
    held(&cluster, 10_719).await;
    // Pages follow each other at once, so the last one would be in before this is.
    cluster.nodes[0].ids().allocate_ids(v1::AllocateIdsRequest { count: 1 }).await.unwrap();
    open.break_off().await;
    assert_eq!(jobs(&cluster).await, []);
    let answer =
        send(cluster.nodes[0].jobs(), parts(header(&source, "whole pages", 900), mappings, 300)).await.unwrap();
    assert_eq!((answer.job.unwrap().total_segments, answer.already_existed), (900, false));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_so_many_long_submits_at_once_and_short_ones_beside_them() {
    let cluster = Cluster::start(1).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, SEGMENTS);
    let mut open = Vec::new();
    for number in 0..32 {
        open.push(Open::with_header(&cluster, header(&source, &format!("open {number}"), 1_000)).await);
    }
    let began = Instant::now();
    let refused = loop {
        assert!(began.elapsed() < PATIENCE, "32 open streams leave no place");
        let one_more = parts(header(&source, "one more", 1_000), &mappings()[..1], 1);
        match send(cluster.nodes[0].jobs(), one_more).await {
            Err(status) if status.code() == Code::ResourceExhausted => break status,
            _ => {}
        }
        // It had the place of one that came later than itself.
        for (number, stream) in open.iter_mut().enumerate().filter(|(_, stream)| stream.call.is_finished()) {
            *stream = Open::with_header(&cluster, header(&source, &format!("open {number}"), 1_000)).await;
        }
    };
    assert!(refused.message().contains("takes 32 submits"), "it names the limit");
    let unary = |segments: Range<usize>| {
        let id_mappings = mappings()[segments].to_vec();
        let request = v1::SubmitJobRequest { id_mappings, ..submit(&source) };
        async { cluster.nodes[0].jobs().submit_job(request).await }
    };
    let status = unary(0..181).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    unary(820..1_000).await.unwrap();
    for stream in open {
        stream.break_off().await;
    }
    eventually("a place to be free", || async { unary(0..181).await.ok() }).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_stream_beyond_the_limit_is_refused_in_the_same_words_as_any_other() {
    let cluster = Cluster::start(3).await;
    let many = vec![mapping(i64::MAX, i64::MAX); 300_000];
    let stream = || vec![Part::Header(header(&sample(), "heavy", 300_000)), page(&many)];
    for node in &cluster.nodes {
        let status = send(node.jobs(), stream()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("larger than 4194304 bytes"), "{}", status.message());
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_named_twice_is_compared_in_a_stream_too() {
    let cluster = Cluster::start(1).await;
    let mut header = header(&sample(), "partitions", 1);
    let target = header.request.as_mut().unwrap().target.as_mut().unwrap();
    target.partition_ids = [(470_636_907_273_650_227, 5)].into();
    let named = |partition_id| v1::IdMapping { partition_id, ..mapping(SAMPLE_SEGMENTS[0], 1) };
    let status = send(cluster.nodes[0].jobs(), parts(header.clone(), &[named(6)], 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().starts_with("id_mappings[0].partition_id: "), "{}", status.message());
    send(cluster.nodes[0].jobs(), parts(header, &[named(5)], 1)).await.unwrap();
    cluster.stop_all().await;
}
