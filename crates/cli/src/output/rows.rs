//! Segments, workers, nodes and ids as tables.

use super::jobs::{labels, or_dash};
use super::table::{fields, grid};
use crate::units::{show_bytes, show_duration, show_time};
use comfy_table::Table;
use ferry_proto::v1::{
    AllocateIdsResponse, GetStatusResponse, Node, NodeRole, Segment, SegmentState, TransferLeadershipResponse, Worker,
    WorkerState,
};
use std::time::Duration;

fn segment_state(segment: &Segment) -> &'static str {
    match segment.state() {
        SegmentState::Unspecified => "-",
        SegmentState::Importing => "Importing",
        SegmentState::Flushed => "Flushed",
        SegmentState::Dropped => "Dropped",
    }
}

/// Segments below each other.
pub(crate) fn segments(segments: &[Segment]) -> Table {
    let header = ["SEGMENT", "STATE", "COLLECTION", "PARTITION", "ROWS", "BYTES", "SOURCE", "JOB"];
    let row = |segment: &Segment| {
        vec![
            segment.segment_id.to_string(),
            segment_state(segment).to_owned(),
            segment.collection_id.to_string(),
            segment.partition_id.to_string(),
            segment.num_of_rows.to_string(),
            show_bytes(segment.size_bytes),
            segment.source_segment_id.to_string(),
            segment.job_id.to_string(),
        ]
    };
    grid(&header, segments.iter().map(row).collect())
}

/// One segment.
pub(crate) fn segment(segment: &Segment) -> Table {
    fields(vec![
        ("segment", segment.segment_id.to_string()),
        ("state", segment_state(segment).to_owned()),
        ("collection", segment.collection_id.to_string()),
        ("partition", segment.partition_id.to_string()),
        ("rows", segment.num_of_rows.to_string()),
        ("bytes", show_bytes(segment.size_bytes)),
        ("source", segment.source_segment_id.to_string()),
        ("job", segment.job_id.to_string()),
    ])
}

fn worker_state(worker: &Worker) -> &'static str {
    match worker.state() {
        WorkerState::Unspecified => "-",
        WorkerState::Active => "Active",
        WorkerState::Draining => "Draining",
        WorkerState::Lost => "Lost",
    }
}

/// Workers below each other.
pub(crate) fn workers(workers: &[Worker]) -> Table {
    let header = ["WORKER", "NAME", "STATE", "SLOTS", "IN PROGRESS", "REGISTERED", "LABELS"];
    let row = |worker: &Worker| {
        vec![
            worker.worker_id.to_string(),
            worker.name.clone(),
            worker_state(worker).to_owned(),
            worker.slots.to_string(),
            worker.in_progress.to_string(),
            show_time(worker.registered_at_ms),
            or_dash(&labels(&worker.labels)),
        ]
    };
    grid(&header, workers.iter().map(row).collect())
}

/// One worker.
pub(crate) fn worker(worker: &Worker) -> Table {
    workers(std::slice::from_ref(worker))
}

/// The nodes of the cluster.
pub(crate) fn nodes(nodes: &[Node]) -> Table {
    let header = ["NODE", "ADDRESS", "ROLE", "APPLIED", "LOG", "VERSION"];
    let row = |node: &Node| {
        let index = |index: u64| if node.reachable { index.to_string() } else { "-".to_owned() };
        vec![
            node.id.to_string(),
            node.address.clone(),
            role(node).to_owned(),
            index(node.last_applied_index),
            index(node.last_log_index),
            or_dash(&node.version),
        ]
    };
    grid(&header, nodes.iter().map(row).collect())
}

/// Who leads after a transfer.
pub(crate) fn leader(response: &TransferLeadershipResponse) -> Table {
    fields(vec![("leader", response.leader_id.to_string()), ("term", response.term.to_string())])
}

fn role(node: &Node) -> &'static str {
    if !node.reachable {
        return "unreachable";
    }
    match node.role() {
        NodeRole::Unspecified => "-",
        NodeRole::Leader => "Leader",
        NodeRole::Follower => "Follower",
        NodeRole::Candidate => "Candidate",
        NodeRole::Learner => "Learner",
    }
}

/// A block of ids.
pub(crate) fn ids(response: &AllocateIdsResponse) -> Table {
    let last = response.first_id + i64::from(response.count) - 1;
    fields(vec![("first", response.first_id.to_string()), ("last", last.to_string())])
}

/// Cluster time for people.
pub(crate) fn cluster_time(status: &GetStatusResponse) -> String {
    show_duration(Duration::from_millis(status.cluster_time_ms))
}

#[cfg(test)]
mod tests {
    use super::{nodes, segments};
    use comfy_table::Table;
    use expect_test::expect;
    use ferry_proto::v1::{Node, NodeRole, Segment, SegmentState};

    fn text(mut table: Table) -> String {
        table.force_no_tty();
        table.trim_fmt() + "\n"
    }

    #[test]
    fn segments_are_shown_with_what_they_came_from() {
        let segment = Segment {
            segment_id: 1001,
            collection_id: 200,
            partition_id: 20,
            source_segment_id: 333,
            job_id: 7,
            state: SegmentState::Flushed.into(),
            num_of_rows: 1100,
            size_bytes: 260_000,
        };
        expect![[r#"
             SEGMENT  STATE    COLLECTION  PARTITION  ROWS  BYTES      SOURCE  JOB
                1001  Flushed         200         20  1100  253.9 KiB     333    7
        "#]]
        .assert_eq(&text(segments(&[segment])));
    }

    #[test]
    fn a_node_that_cannot_be_reached_is_told_apart() {
        let leads = Node {
            id: 1,
            address: "n1:7401".to_owned(),
            role: NodeRole::Leader.into(),
            last_applied_index: 42,
            last_log_index: 43,
            reachable: true,
            version: "0.1.0".to_owned(),
        };
        let gone = Node { id: 2, address: "n2:7401".to_owned(), ..Node::default() };
        expect![[r#"
             NODE  ADDRESS  ROLE         APPLIED  LOG  VERSION
                1  n1:7401  Leader            42   43  0.1.0
                2  n2:7401  unreachable  -        -    -
        "#]]
        .assert_eq(&text(nodes(&[leads, gone])));
    }
}
