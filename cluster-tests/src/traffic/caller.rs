//! One client: makes a call on one node, once, with a deadline, and records what it saw.

use super::board::Board;
use super::endpoints::Endpoints;
use super::history::{Answer, Operation, Outcome, Promise, Request};
use super::recorder::History;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A call that its node has not answered is given up this long after its deadline: then the node hangs.
const GRACE: Duration = Duration::from_millis(300);
/// Calls in a hundred that go to another node than the client's own.
const ASTRAY_PERCENT: u32 = 15;
const REVISION: &str = "ferry-revision";
const REVISION_MIN: &str = "ferry-min-revision";
const STALENESS_MS: &str = "ferry-staleness-ms";

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) endpoints: Endpoints,
    pub(crate) history: History,
    pub(crate) board: Board,
    /// No new jobs.
    pub(crate) calm: AtomicBool,
    /// No new calls.
    pub(crate) stopped: AtomicBool,
}

impl Shared {
    pub(crate) fn new(endpoints: BTreeMap<u64, String>, history: History) -> Self {
        Self {
            endpoints: Endpoints::new(endpoints),
            history,
            board: Board::default(),
            calm: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// A client.
pub(crate) struct Caller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) random: StdRng,
    name: Arc<str>,
    place: usize,
}

/// How a call is to be made.
pub(crate) struct Ask {
    pub(crate) node: u64,
    pub(crate) request: Request,
    pub(crate) promise: Promise,
    pub(crate) revision_min: Option<u64>,
}

impl Ask {
    pub(crate) fn new(node: u64, request: Request, promise: Promise) -> Self {
        Self { node, request, promise, revision_min: None }
    }
}

impl Caller {
    pub(crate) fn new(shared: Arc<Shared>, name: &str, place: usize, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed ^ (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { shared, random, name: name.into(), place }
    }

    /// The node to call: mostly the client's own.
    pub(crate) fn node(&mut self) -> u64 {
        let nodes = self.shared.endpoints.nodes();
        let astray = self.random.random_range(0..100) < ASTRAY_PERCENT;
        let place = if astray { self.random.random_range(0..nodes.len().max(1)) } else { self.place };
        nodes.get(place % nodes.len().max(1)).copied().unwrap_or(0)
    }

    /// Another node than this one, where there is another.
    pub(crate) fn other_node(&mut self, than: u64) -> u64 {
        let nodes: Vec<u64> = self.shared.endpoints.nodes().into_iter().filter(|node| *node != than).collect();
        if nodes.is_empty() { than } else { nodes[self.random.random_range(0..nodes.len())] }
    }

    /// A deadline for a call.
    fn deadline(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(1_000..3_000))
    }

    /// Makes a call and records it; `None` where the node is gone from the cluster.
    pub(crate) async fn call<Q, A, F>(
        &mut self,
        ask: Ask,
        message: Q,
        send: impl FnOnce(Channel, tonic::Request<Q>) -> F,
        read: impl FnOnce(A) -> Answer,
    ) -> Option<Arc<Operation>>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = self.shared.endpoints.channel(ask.node)?;
        let deadline = self.deadline();
        let mut request = tonic::Request::new(message);
        request.set_timeout(deadline);
        if let Some(revision) = ask.revision_min {
            request.metadata_mut().insert(REVISION_MIN, MetadataValue::from(revision));
        }
        let called_us = self.shared.history.now_us();
        let answered = tokio::time::timeout(deadline + GRACE, send(channel, request)).await;
        let answered = answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("the node did not answer at all")));
        let (outcome, metadata, answer) = match answered {
            Ok(response) => {
                let (metadata, message, _) = response.into_parts();
                (Outcome::Ok, metadata, read(message))
            }
            Err(status) => (Outcome::of(&status), status.metadata().clone(), Answer::None),
        };
        Some(self.record(ask, called_us, outcome, &metadata, answer))
    }

    /// Records what was seen just now.
    pub(crate) fn record(
        &self,
        ask: Ask,
        called_us: u64,
        outcome: Outcome,
        metadata: &MetadataMap,
        answer: Answer,
    ) -> Arc<Operation> {
        let operation = Operation {
            number: self.shared.history.next_number(),
            client: Arc::clone(&self.name),
            node: ask.node,
            request: ask.request,
            promise: ask.promise,
            called_us,
            returned_us: self.shared.history.now_us(),
            outcome,
            revision: number(metadata, REVISION),
            staleness_ms: number(metadata, STALENESS_MS),
            revision_min: ask.revision_min,
            answer,
        };
        let operation = self.shared.history.record(operation);
        self.shared.board.learn(&operation);
        operation
    }
}

fn number(metadata: &MetadataMap, key: &str) -> Option<u64> {
    metadata.get(key)?.to_str().ok()?.parse().ok()
}
