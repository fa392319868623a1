//! What must hold at the end, asked of every living node and of the files themselves.

use super::BULK_COLLECTION;
use super::bulk::Bulk;
use super::nodes::Nodes;
use super::steps::Steps;
use super::tree::{self, NewIds};
use crate::units::show_bytes;
use anyhow::{Context, ensure};
use ferry_client::Client;
use ferry_proto::v1::{
    CheckInvariantsRequest, Consistency, Job, ListSegmentsRequest, ListSegmentsResponse, Segment, SegmentState,
};
use std::path::Path;
use std::time::Duration;

const READ_TIMEOUT: Duration = Duration::from_secs(30);
const PAGE_SIZE: u32 = 1000;

/// What was copied and found equal.
pub(super) struct Proven {
    pub(super) segments: usize,
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// Checks the targets of the bulk job.
pub(super) async fn bulk(
    steps: &Steps,
    nodes: &Nodes,
    bulk: &Bulk,
    dir: &Path,
    job: &Job,
    segments: u16,
) -> anyhow::Result<Proven> {
    let flushed = flushed_on_every_node(nodes, job, usize::from(segments)).await?;
    let living: Vec<String> = nodes.alive().map(|node| node.id.to_string()).collect();
    steps.held(&format!(
        "{} of {segments} targets are Flushed on every living node ({})",
        flushed.len(),
        living.join(", ")
    ));
    let proven = files(&bulk.root, &dir.join("copied"), BULK_COLLECTION, &flushed).await?;
    let expected = bulk.snapshot.files;
    ensure!(proven.files as u64 == expected, "{} files were compared, the source has {expected}", proven.files);
    steps.held(&format!(
        "{} files, {}: size and CRC32C equal to their source's",
        proven.files,
        show_bytes(proven.bytes)
    ));
    Ok(proven)
}

/// The targets of a Completed job, the same on each living node.
pub(super) async fn flushed_on_every_node(nodes: &Nodes, job: &Job, count: usize) -> anyhow::Result<Vec<Segment>> {
    let mut first: Option<Vec<Segment>> = None;
    for node in nodes.alive() {
        let client = Nodes::client_of(node, READ_TIMEOUT)?;
        let segments = segments_of(&client, job.job_id, Consistency::Linearizable).await?;
        all_flushed(&segments, count).with_context(|| format!("on node {}", node.id))?;
        match &first {
            Some(first) => ensure!(*first == segments, "node {} shows other segments than the first", node.id),
            None => first = Some(segments),
        }
    }
    first.context("no node is alive")
}

/// Fails unless there are `count` segments, all of them Flushed.
pub(super) fn all_flushed(segments: &[Segment], count: usize) -> anyhow::Result<()> {
    ensure!(segments.len() == count, "there are {} targets instead of {count}", segments.len());
    match segments.iter().find(|segment| segment.state() != SegmentState::Flushed) {
        None => Ok(()),
        Some(other) => anyhow::bail!("target {} is {:?}", other.segment_id, other.state()),
    }
}

/// Every target of a job, as one node has it.
pub(super) async fn segments_of(
    client: &Client,
    job_id: i64,
    consistency: Consistency,
) -> Result<Vec<Segment>, ferry_client::Error> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListSegmentsRequest {
            page_size: PAGE_SIZE,
            page_token,
            job_id,
            consistency: consistency.into(),
            ..ListSegmentsRequest::default()
        };
        let ListSegmentsResponse { segments, next_page_token } = client.list_segments(request).await?.message;
        all.extend(segments);
        page_token = next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// Compares each file of the target with its source.
pub(super) async fn files(
    source: &Path,
    target: &Path,
    collection: i64,
    segments: &[Segment],
) -> anyhow::Result<Proven> {
    let ids = NewIds {
        collection,
        segments: segments.iter().map(|segment| (segment.source_segment_id, segment.segment_id)).collect(),
    };
    let (source, target) = (source.to_owned(), target.to_owned());
    let count = segments.len();
    tokio::task::spawn_blocking(move || {
        let (before, after) = (tree::digest(&source)?, tree::digest(&target)?);
        tree::compare(&before, &after, &ids)?;
        Ok(Proven { segments: count, files: after.len(), bytes: after.values().map(|digest| digest.bytes).sum() })
    })
    .await?
}

/// Recounts the invariants on every living node.
pub(super) async fn invariants(steps: &Steps, nodes: &Nodes) -> anyhow::Result<()> {
    let mut rows = 0;
    for node in nodes.alive() {
        let client = Nodes::client_of(node, READ_TIMEOUT)?;
        let request = CheckInvariantsRequest { consistency: Consistency::Linearizable.into() };
        let checked = client.check_invariants(request).await?;
        ensure!(checked.violations.is_empty(), "node {}: {}", node.id, checked.violations.join("; "));
        rows = checked.rows_checked;
    }
    let count = nodes.alive().count();
    steps.held(&format!("every invariant holds in the {rows} rows of each of the {count} living nodes"));
    Ok(())
}
