//! Streams that are opened again, on another node, where they break: what watches are made of.

use crate::call::Manner;
use crate::{Client, Error};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// Responses of one kind from whichever node has them.
pub(crate) struct Resumed<R> {
    client: Client,
    stream: Option<(String, Streaming<R>)>,
    /// Since when nothing has come although streams were opened, with the pauses between them.
    silence: Option<(Instant, Box<dyn Iterator<Item = Duration> + Send>)>,
}

impl<R> Resumed<R> {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, stream: None, silence: None }
    }

    /// The next response and who sent it. A stream that has to be opened is asked for with `request`, and begins at the
    /// highest revision seen, so that it cannot fall back.
    pub(crate) async fn next<Q, F, Fut>(&mut self, request: &Q, send: F) -> Result<(String, R), Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<Streaming<R>>, Status>>,
    {
        loop {
            let opened = match self.stream.take() {
                Some(stream) => stream,
                None => {
                    let manner = Manner { streaming: true, ..self.client.short() };
                    let opened = self.client.call(manner, request.clone(), &send).await?;
                    (opened.endpoint, opened.message)
                }
            };
            let (endpoint, stream) = self.stream.insert(opened);
            let endpoint = endpoint.clone();
            let error = match stream.message().await {
                Ok(Some(response)) => {
                    self.silence = None;
                    return Ok((endpoint, response));
                }
                Ok(None) => {
                    let cause = "the watch ended before what is watched".to_owned();
                    Error::Unreachable { endpoint: endpoint.clone(), cause }
                }
                Err(status) => Error::from_status(&status, &endpoint),
            };
            self.stream = None;
            if !error.is_passing() {
                return Err(error);
            }
            tracing::debug!(endpoint, %error, "watching on another node");
            self.client.leave_endpoint(&endpoint);
            self.pause(error).await?;
        }
    }

    /// Streams that open and break at once are not to be opened in a hurry, nor for ever.
    async fn pause(&mut self, error: Error) -> Result<(), Error> {
        let timeout = self.client.shared.options.timeout;
        let (since, pauses) = self.silence.get_or_insert_with(|| (Instant::now(), Box::new(self.client.pauses())));
        if since.elapsed() >= timeout {
            return Err(error);
        }
        tokio::time::sleep(pauses.next().unwrap_or_default()).await;
        Ok(())
    }
}
