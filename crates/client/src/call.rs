//! One call: tries on one node after the other, with pauses that grow and jitter, until it is answered or out of time.

use crate::answer::{MIN_REVISION, REVISION, number};
use crate::nodes::Node;
use crate::{Answer, Client, Error};
use backon::{BackoffBuilder, ExponentialBuilder};
use ferry_proto::v1;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use std::time::Duration;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// The first pause; each further one is longer.
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// How much of the time the node is told about is left for its answer to come back.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// How a kind of call is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// For all tries together.
    pub(crate) timeout: Duration,
    /// For one of them.
    pub(crate) try_timeout: Duration,
    /// Ask for nothing older than what was seen.
    pub(crate) monotonic: bool,
    /// The call lasts as long as its stream, so the node is told no deadline.
    pub(crate) streaming: bool,
}

impl Client {
    /// The manner of calls that a healthy node answers quickly.
    pub(crate) fn short(&self) -> Manner {
        let options = &self.shared.options;
        Manner { timeout: options.timeout, try_timeout: options.try_timeout, monotonic: true, streaming: false }
    }

    /// The manner of calls whose work grows with the request or the cluster: one try may take all the time.
    pub(crate) fn long(&self, timeout: Duration) -> Manner {
        Manner { timeout, try_timeout: timeout, monotonic: true, streaming: false }
    }

    /// The manner of calls that last as long as what they send: the timeout is for what makes no progress.
    pub(crate) fn streamed(&self) -> Manner {
        Manner { streaming: true, ..self.long(self.shared.options.timeout) }
    }

    /// Makes a call, trying again until its deadline what is worth it.
    pub(crate) async fn call<Q, R, F, Fut>(&self, manner: Manner, message: Q, send: F) -> Result<Answer<R>, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + manner.timeout;
        let mut rounds = Rounds::new(self);
        loop {
            let node = self.shared.nodes.current();
            let remaining = deadline.saturating_duration_since(Instant::now());
            let limit = manner.try_timeout.min(remaining);
            let error = match self.attempt(&node, manner, limit, message.clone(), &send).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let in_vain = error.code() == Code::DeadlineExceeded && limit < remaining;
            if (!error.is_passing() && !in_vain) || !rounds.next(self, &node, &error, deadline).await {
                return Err(error);
            }
        }
    }

    /// The pauses between rounds over the nodes; they never end.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(BACKOFF_MIN)
            .with_max_delay(self.shared.options.backoff_max)
            .with_jitter()
            .without_max_times()
            .build()
    }

    async fn attempt<Q, R, F, Fut>(
        &self,
        node: &Node,
        manner: Manner,
        limit: Duration,
        message: Q,
        send: &F,
    ) -> Result<Answer<R>, Error>
    where
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let request = self.request(manner, limit, message);
        let sent = send(node.channel.clone(), request);
        match tokio::time::timeout(limit + ANSWER_MARGIN, sent).await {
            Err(_) => Err(Error::TimedOut { endpoint: node.endpoint.clone(), after: limit }),
            Ok(Ok(response)) => self.answered(Ok(response), node),
            Ok(Err(status)) => {
                let too_long = tried_too_long(&status, node, limit);
                let answered = self.answered(Err(status), node);
                too_long.map_or(answered, Err)
            }
        }
    }

    /// What a node answered, and at which revision.
    pub(crate) fn answered<R>(&self, answered: Result<Response<R>, Status>, node: &Node) -> Result<Answer<R>, Error> {
        match answered {
            Ok(response) => {
                let answer = Answer::new(response, &node.endpoint);
                self.saw_revision(answer.revision.unwrap_or_default());
                Ok(answer)
            }
            Err(status) => {
                self.saw_revision(number(status.metadata(), REVISION).unwrap_or_default());
                Err(Error::from_status(&status, &node.endpoint))
            }
        }
    }

    pub(crate) fn request<Q>(&self, manner: Manner, limit: Duration, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if !manner.streaming {
            request.set_timeout(limit);
        }
        if manner.monotonic && self.revision() > 0 {
            request.metadata_mut().insert(MIN_REVISION, MetadataValue::from(self.revision()));
        }
        request
    }

    /// Chooses the node for the next try; true when it is the leader that the last one named.
    async fn move_on(&self, node: &Node, error: &Error) -> bool {
        let nodes = &self.shared.nodes;
        if let Some(leader_id) = error.leader_id().filter(|_| self.shared.options.follow_leader) {
            if !nodes.go_to(leader_id) {
                self.learn_nodes(node).await;
                nodes.go_to(leader_id);
            }
            if nodes.current().endpoint != node.endpoint {
                return true;
            }
        }
        nodes.leave(&node.endpoint);
        false
    }

    /// Asks a node where the others are. Nothing is lost when it does not say: the given endpoints remain.
    async fn learn_nodes(&self, node: &Node) {
        let mut request = Request::new(v1::GetStatusRequest { local_only: true });
        request.set_timeout(self.shared.options.connect_timeout);
        let mut cluster = ClusterServiceClient::new(node.channel.clone());
        match cluster.get_status(request).await {
            Ok(response) => {
                let nodes = response.into_inner().nodes;
                self.shared.nodes.learn(nodes.into_iter().map(|node| (node.id, node.address)));
            }
            Err(status) => tracing::debug!(endpoint = node.endpoint, %status, "the node does not name the others"),
        }
    }
}

/// The tries of one call, over the nodes in turn.
pub(crate) struct Rounds<P> {
    pauses: P,
    tries: usize,
}

impl Rounds<()> {
    pub(crate) fn new(client: &Client) -> Rounds<impl Iterator<Item = Duration> + Send + use<>> {
        Rounds { pauses: client.pauses(), tries: 0 }
    }
}

impl<P: Iterator<Item = Duration>> Rounds<P> {
    /// After a try that failed: goes to the next node, with a pause behind each round over them. False when there is no
    /// time left for another try.
    pub(crate) async fn next(&mut self, client: &Client, node: &Node, error: &Error, deadline: Instant) -> bool {
        tracing::debug!(endpoint = node.endpoint, %error, "trying again");
        let redirected = client.move_on(node, error).await;
        self.tries += 1;
        let pause = if redirected || !self.tries.is_multiple_of(client.shared.nodes.count()) {
            Duration::ZERO
        } else {
            self.pauses.next().unwrap_or_default()
        };
        if Instant::now() + pause >= deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// The transport's own timer for a try, which fires beside ours.
fn tried_too_long(status: &Status, node: &Node, limit: Duration) -> Option<Error> {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return Some(Error::TimedOut { endpoint: node.endpoint.clone(), after: limit });
        }
        cause = error.source();
    }
    None
}
