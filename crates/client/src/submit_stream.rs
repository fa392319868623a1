//! A submit of any length: its mappings are read and sent page by page, never held, and read again from the first when
//! the stream broke off, which the cluster then passes over up to where it was.

use crate::call::Rounds;
use crate::jobs::jobs;
use crate::nodes::Node;
use crate::{Answer, Client, Error};
use ferry_proto::v1::submit_job_stream_request::Part;
use ferry_proto::v1::{
    IdMapping, SubmitJobRequest, SubmitJobStreamHeader, SubmitJobStreamPage, SubmitJobStreamRequest,
    SubmitJobStreamResponse,
};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// Mappings of one message: some thirty kilobytes.
const MAPPINGS_PER_MESSAGE: usize = 1_000;
/// Messages made ahead of the connection.
const MESSAGES_AHEAD: usize = 4;
/// How often it is looked whether a stream still moves.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Mappings for a submit that may have to read them more than once.
pub trait MappingSource: Send + Sync + 'static {
    /// The mappings from the first on; always the same ones.
    ///
    /// # Errors
    /// When they cannot be read, as each of them cannot.
    fn open(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<IdMapping>> + Send>>;
}

impl Client {
    /// Submits a job with so many mappings from a source; `request` has none. `progress` hears how many have been sent,
    /// from the first again after a loss. Goes on over the loss of any node as long as the stream gets further within
    /// the client's timeout.
    pub async fn submit_job_stream(
        &self,
        mut request: SubmitJobRequest,
        total_mappings: i64,
        source: Arc<dyn MappingSource>,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Answer<SubmitJobStreamResponse>, Error> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        let header = SubmitJobStreamHeader { request: Some(request), total_mappings };
        let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(progress);
        let timeout = self.shared.options.timeout;
        let mut rounds = Rounds::new(self);
        // How far any try came, and since when none came further.
        let mut furthest = (0, Instant::now());
        loop {
            let node = self.shared.nodes.current();
            let stream =
                Outgoing { source: Arc::clone(&source), progress: Arc::clone(&progress), sent: Arc::default() };
            let sent = Arc::clone(&stream.sent);
            let error = match self.stream_once(&node, header.clone(), stream).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let sent = sent.load(Ordering::Relaxed);
            if sent > furthest.0 {
                furthest = (sent, Instant::now());
            }
            if !error.is_passing() || !rounds.next(self, &node, &error, furthest.1 + timeout).await {
                return Err(error);
            }
        }
    }

    async fn stream_once(
        &self,
        node: &Node,
        header: SubmitJobStreamHeader,
        stream: Outgoing,
    ) -> Result<Answer<SubmitJobStreamResponse>, Error> {
        let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
        // As long as one sender is there the stream does not end: mappings that cannot be read are no end of it.
        let mut held = Some(sender.clone());
        let sent = Arc::clone(&stream.sent);
        let mut reading = tokio::task::spawn_blocking(move || stream.send(header, &sender));
        let manner = self.streamed();
        let request = self.request(manner, manner.timeout, ReceiverStream::new(receiver));
        let mut client = jobs(node.channel.clone());
        let mut call = std::pin::pin!(client.submit_job_stream(request));
        let mut moved = (0, Instant::now());
        loop {
            tokio::select! {
                answered = &mut call => return self.answered(answered, node),
                read = &mut reading, if held.is_some() => match read {
                    Ok(Ok(())) => held = None,
                    Ok(Err(error)) => return Err(Error::Mappings { reason: error.to_string() }),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let now = sent.load(Ordering::Relaxed);
            if now != moved.0 {
                moved = (now, Instant::now());
            }
            if moved.1.elapsed() >= manner.timeout {
                return Err(Error::TimedOut { endpoint: node.endpoint.clone(), after: manner.timeout });
            }
        }
    }
}

/// The messages of one try.
struct Outgoing {
    source: Arc<dyn MappingSource>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
    /// Mappings that the connection took.
    sent: Arc<AtomicU64>,
}

impl Outgoing {
    /// Sends the header and all mappings, or as many as are wanted: why not more is what the call answers.
    fn send(&self, header: SubmitJobStreamHeader, to: &mpsc::Sender<SubmitJobStreamRequest>) -> io::Result<()> {
        if to.blocking_send(message(Part::Header(header))).is_err() {
            return Ok(());
        }
        let mut mappings = self.source.open()?;
        loop {
            let id_mappings: Vec<IdMapping> =
                mappings.by_ref().take(MAPPINGS_PER_MESSAGE).collect::<io::Result<_>>()?;
            let count = id_mappings.len() as u64;
            if count == 0 || to.blocking_send(message(Part::Page(SubmitJobStreamPage { id_mappings }))).is_err() {
                return Ok(());
            }
            (self.progress)(self.sent.fetch_add(count, Ordering::Relaxed) + count);
        }
    }
}

fn message(part: Part) -> SubmitJobStreamRequest {
    SubmitJobStreamRequest { part: Some(part) }
}
