//! The health service: "" while the process answers, "ferry.v1.JobService" while a leader confirms this node.

use crate::node::Node;
use std::sync::Arc;
use std::time::Duration;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

const SERVICE: &str = "ferry.v1.JobService";
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Keeps the reported health up to date; runs until the node stops.
pub(crate) async fn report(node: Arc<Node>, reporter: HealthReporter) {
    let mut told = None;
    loop {
        let serves = node.raft.leader().is_some() && node.reads.is_fresh();
        if told != Some(serves) {
            let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status(SERVICE, status).await;
            told = Some(serves);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
