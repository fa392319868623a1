//! What every call from outside passes: forwarding to the leader, one wording for messages that are too large, a size that
//! every refusal keeps to, and the count of calls by outcome. Calls between nodes go straight through.

use crate::forward::{Forwarder, Route};
use crate::metrics::Metrics;
use crate::status::fitted;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Paths of the service that nodes use among themselves.
const INTERNAL: &str = "/ferry.internal.";
/// How the transport begins the message of a status for a request message beyond the limit.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Wraps the services of a node.
#[derive(Clone)]
pub(crate) struct GatewayLayer {
    pub(crate) forwarder: Forwarder,
    pub(crate) metrics: Arc<Metrics>,
    /// Holds a token for every call that is being answered.
    pub(crate) calls: TaskTracker,
}

impl<S> Layer<S> for GatewayLayer {
    type Service = Gateway<S>;

    fn layer(&self, inner: S) -> Gateway<S> {
        Gateway { inner, shared: self.clone() }
    }
}

/// The wrapped services.
#[derive(Clone)]
pub(crate) struct Gateway<S> {
    inner: S,
    shared: GatewayLayer,
}

impl<S> Service<Request<Body>> for Gateway<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone that was polled ready is the one that is used.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        if request.uri().path().starts_with(INTERNAL) {
            return Box::pin(inner.call(request));
        }
        let shared = self.shared.clone();
        Box::pin(async move {
            let call = shared.begin(request.uri().path());
            let response = match shared.forwarder.route(request).await {
                Route::Here(request) => match shared.forwarder.give_up_at(&request) {
                    None => inner.call(request).await?,
                    Some(at) => match timeout_at(at, inner.call(request)).await {
                        Ok(response) => response?,
                        Err(_) => undecided().into_http(),
                    },
                },
                Route::Answered(response) => response,
            };
            Ok(call.observe(shared.reworded(response)))
        })
    }
}

/// A leader without a quorum cannot say what became of a write, but it says so before its client gives up.
fn undecided() -> Status {
    Status::unavailable(
        "no quorum agreed within the deadline, so the outcome is unknown: repeat the call (with the same request_id for a \
         submit), or see which nodes run (`ferry cluster status`)",
    )
}

impl GatewayLayer {
    fn begin(&self, path: &str) -> Call {
        let method = path.trim_start_matches('/').to_owned();
        Call { metrics: Arc::clone(&self.metrics), method, code: None, _open: self.calls.token() }
    }

    fn reworded(&self, response: Response<Body>) -> Response<Body> {
        let Some(status) = Status::from_header_map(response.headers()) else { return response };
        if status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE) {
            return self.forwarder.too_large().into_http();
        }
        fitted(&status).map_or(response, Status::into_http)
    }
}

/// A call that is being answered; counted once, when its status is known or it is given up.
struct Call {
    metrics: Arc<Metrics>,
    method: String,
    code: Option<Code>,
    _open: TaskTrackerToken,
}

impl Call {
    fn observe(mut self, response: Response<Body>) -> Response<Body> {
        self.note(response.headers());
        response.map(|body| Body::new(Observed { body, call: self }))
    }

    fn note(&mut self, headers: &HeaderMap) {
        self.code = self.code.or_else(|| Status::from_header_map(headers).map(|status| status.code()));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        // Anything may be called; only methods that exist become a label.
        let method = if code == Code::Unimplemented { "unknown" } else { &self.method };
        self.metrics.count_request(method, &format!("{code:?}"));
    }
}

/// A response's body that tells its call the status in its trailers.
struct Observed {
    body: Body,
    call: Call,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.note(trailers);
                }
            }
            Some(Err(status)) => self.call.code = Some(status.code()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
