//! A worker as the protocol sees it: it claims what it is assigned and reports it copied, without touching a file.

use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{self, SessionRequest};
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Rows and bytes it reports for each segment.
pub(crate) const ROWS: i64 = 1_100;
pub(crate) const BYTES: u64 = 5_000;
/// What it read as the manifest of each segment.
pub(crate) const MANIFEST: v1::ManifestPin = v1::ManifestPin { size_bytes: 800, crc32c: 7 };

/// An open session.
pub(crate) struct ScriptedWorker {
    say: mpsc::Sender<SessionRequest>,
    hear: Streaming<v1::SessionResponse>,
    assigned: HashMap<(i64, u32), v1::Assign>,
}

impl ScriptedWorker {
    /// Says hello; the first answer is still to be heard.
    pub(crate) async fn open(mut client: WorkerServiceClient<Channel>, name: &str, slots: u32) -> Self {
        let (say, said) = mpsc::channel(64);
        let hello = v1::Hello { name: name.into(), incarnation: 1, slots, ..v1::Hello::default() };
        say.send(request(Say::Hello(hello))).await.unwrap();
        let hear = client.session(ReceiverStream::new(said)).await.unwrap().into_inner();
        Self { say, hear, assigned: HashMap::new() }
    }

    /// The next message, or the end of the session.
    pub(crate) async fn hear(&mut self) -> Option<Hear> {
        self.hear.message().await.ok().flatten().and_then(|response| response.message)
    }

    /// Does what a worker does, until `results` results were acknowledged.
    pub(crate) async fn work(&mut self, mut results: usize) {
        while results > 0 {
            match self.hear().await.expect("the session goes on") {
                Hear::Assign(assign) => self.claim(assign).await,
                Hear::Claimed(claimed) => self.copied(claimed.attempt.unwrap()).await,
                Hear::Acknowledged(_) => results -= 1,
                Hear::Welcome(_)
                | Hear::Renewed(_)
                | Hear::Leader(_)
                | Hear::Drop(_)
                | Hear::Limit(_)
                | Hear::WritesBegun(_) => {}
            }
        }
    }

    async fn claim(&mut self, assign: v1::Assign) {
        let attempt = assign.attempt.unwrap();
        let total_bytes = BYTES * assign.id_mappings.len() as u64;
        let manifests = vec![MANIFEST; assign.id_mappings.len()];
        self.assigned.insert((attempt.task_id, attempt.attempt), assign);
        self.send(Say::Claim(v1::Claim { attempt: Some(attempt), total_bytes, manifests })).await;
    }

    async fn copied(&mut self, attempt: v1::Attempt) {
        let assign = &self.assigned[&(attempt.task_id, attempt.attempt)];
        let segments = assign
            .id_mappings
            .iter()
            .map(|mapping| v1::CopiedSegment {
                target_segment_id: mapping.target_segment_id,
                partition_id: 7,
                num_of_rows: ROWS,
                size_bytes: BYTES,
            })
            .collect();
        let outcome = match assign.work() {
            v1::TaskWork::Publish => v1::result::Outcome::Published(v1::Published {}),
            _ => v1::result::Outcome::Copied(v1::Copied { segments }),
        };
        self.send(Say::Result(v1::Result { attempt: Some(attempt), outcome: Some(outcome), writes_for_ms: 0 })).await;
    }

    /// The next message for which `pick` has an answer.
    pub(crate) async fn wait<T>(&mut self, mut pick: impl FnMut(Hear) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.hear().await.expect("the session goes on")) {
                return found;
            }
        }
    }

    /// The next attempt that it is to run.
    pub(crate) async fn assigned(&mut self) -> v1::Assign {
        self.wait(|message| if let Hear::Assign(assign) = message { Some(assign) } else { None }).await
    }

    pub(crate) async fn send(&self, message: Say) {
        self.say.send(request(message)).await.unwrap();
    }
}

fn request(message: Say) -> SessionRequest {
    SessionRequest { message: Some(message) }
}
