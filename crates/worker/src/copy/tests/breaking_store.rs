//! A store of one object: reading it for the first time breaks off half-way, and what lies there then is another version.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use std::sync::{Arc, Mutex};
use tokio_util::task::AbortOnDropHandle;

/// Of every version.
const SIZE_BYTES: usize = 2 << 20;
const CHUNK_BYTES: usize = 1 << 16;
/// The chunk that does not come.
const HALF: usize = SIZE_BYTES / CHUNK_BYTES / 2;

/// What the store has seen.
#[derive(Debug, Default)]
struct Seen {
    replaced: bool,
    tags: Vec<Option<String>>,
}

#[derive(Debug)]
pub(super) struct BreakingStore {
    seen: Arc<Mutex<Seen>>,
    _server: AbortOnDropHandle<()>,
}

impl BreakingStore {
    /// Starts one, with a client that reaches it.
    pub(super) async fn start() -> (BreakingStore, Arc<dyn ObjectStore>) {
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_bucket_name("bucket")
            .build()
            .unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (BreakingStore { seen, _server: AbortOnDropHandle::new(server) }, Arc::new(client))
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
        .header(header::LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")
        .header(header::CONTENT_LENGTH, SIZE_BYTES);
    if method == Method::HEAD {
        return response.body(Body::empty()).unwrap();
    }
    let tag = headers.get(header::IF_MATCH).map(|tag| tag.to_str().unwrap().to_owned());
    let holds = tag.as_ref().is_none_or(|tag| *tag == format!("\"{version}\""));
    seen.tags.push(tag);
    if !holds {
        return Response::builder().status(StatusCode::PRECONDITION_FAILED).body(Body::empty()).unwrap();
    }
    let breaks = !seen.replaced;
    seen.replaced = true;
    let chunks = (0..SIZE_BYTES / CHUNK_BYTES).map(move |index| match index {
        HALF if breaks => Err(std::io::Error::other("the connection breaks")),
        _ => Ok(Bytes::from(vec![version; CHUNK_BYTES])),
    });
    response.body(Body::from_stream(futures::stream::iter(chunks))).unwrap()
}
