//! A store of one object. Reading it breaks off half-way: either for the first time only, and what lies there then is
//! another version, or every time, after a quarter of it.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, RetryConfig};
use std::sync::{Arc, Mutex};
use tokio_util::task::AbortOnDropHandle;

/// Of every version.
const SIZE_BYTES: usize = 2 << 20;
const CHUNK_BYTES: usize = 1 << 16;
/// The chunk that does not come.
const HALF: usize = SIZE_BYTES / CHUNK_BYTES / 2;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Replaced,
    BreaksEachTime,
}

/// What the store has seen.
#[derive(Debug)]
struct Seen {
    trouble: Trouble,
    replaced: bool,
    offsets: Vec<usize>,
    tags: Vec<Option<String>>,
}

#[derive(Debug)]
pub(super) struct BreakingStore {
    seen: Arc<Mutex<Seen>>,
    _server: AbortOnDropHandle<()>,
}

impl BreakingStore {
    /// Starts one, with a client that reaches it.
    pub(super) async fn start(trouble: Trouble) -> (BreakingStore, Arc<dyn ObjectStore>) {
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The client reads on by itself for a while; without that, it is left to the worker.
        let max_retries = if trouble == Trouble::BreaksEachTime { 0 } else { 10 };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_bucket_name("bucket")
            .with_retry(RetryConfig { max_retries, ..RetryConfig::default() })
            .build()
            .unwrap();
        let seen = Arc::new(Mutex::new(Seen { trouble, replaced: false, offsets: Vec::new(), tags: Vec::new() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (BreakingStore { seen, _server: AbortOnDropHandle::new(server) }, Arc::new(client))
    }

    /// Where each reading began.
    pub(super) fn offsets(&self) -> Vec<usize> {
        self.seen.lock().unwrap().offsets.clone()
    }

    /// The entity tag that each reading was conditioned on.
    pub(super) fn tags(&self) -> Vec<Option<String>> {
        self.seen.lock().unwrap().tags.clone()
    }
}

async fn answer(State(seen): State<Arc<Mutex<Seen>>>, method: Method, headers: HeaderMap) -> Response<Body> {
    let mut seen = seen.lock().unwrap();
    let version = if seen.replaced { 2 } else { 1 };
    let response = Response::builder()
        .header(header::ETAG, format!("\"{version}\""))
        .header(header::LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT");
    if method == Method::HEAD {
        return response.header(header::CONTENT_LENGTH, SIZE_BYTES).body(Body::empty()).unwrap();
    }
    let tag = headers.get(header::IF_MATCH).map(|tag| tag.to_str().unwrap().to_owned());
    let holds = tag.as_ref().is_none_or(|tag| *tag == format!("\"{version}\""));
    seen.tags.push(tag);
    if !holds {
        return Response::builder().status(StatusCode::PRECONDITION_FAILED).body(Body::empty()).unwrap();
    }
    let range = headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()).unwrap_or(0);
    seen.offsets.push(from);
    let breaks_at = match seen.trouble {
        Trouble::Replaced if seen.replaced => None,
        Trouble::Replaced => Some(HALF * CHUNK_BYTES),
        Trouble::BreaksEachTime => Some(from + SIZE_BYTES / 4),
    };
    seen.replaced = seen.trouble == Trouble::Replaced;
    let chunks = (from..SIZE_BYTES).step_by(CHUNK_BYTES).map(move |at| {
        if breaks_at == Some(at) {
            return Err(std::io::Error::other("the connection breaks"));
        }
        Ok(Bytes::from(vec![version; CHUNK_BYTES.min(SIZE_BYTES - at)]))
    });
    let body = Body::from_stream(futures::stream::iter(chunks));
    if from == 0 {
        return response.header(header::CONTENT_LENGTH, SIZE_BYTES).body(body).unwrap();
    }
    response
        .status(StatusCode::PARTIAL_CONTENT)
        .header(header::CONTENT_LENGTH, SIZE_BYTES - from)
        .header(header::CONTENT_RANGE, format!("bytes {from}-{}/{SIZE_BYTES}", SIZE_BYTES - 1))
        .body(body)
        .unwrap()
}
