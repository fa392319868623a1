//! A store that may be slow to carry a write out, and does so whatever has become of its caller: while it holds writes back
//! nothing is answered, and once it does not all of them appear.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the store does about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Prompt,
    HoldsBack,
    Refuses,
}

#[derive(Debug)]
struct Seen {
    mood: watch::Sender<Mood>,
    /// Writes that came while it held them back.
    held_back: watch::Sender<usize>,
    objects: Mutex<BTreeMap<String, Bytes>>,
    parts: Mutex<Bytes>,
}

#[derive(Debug)]
pub(crate) struct LateStore {
    seen: Arc<Seen>,
    _server: AbortOnDropHandle<()>,
}

impl LateStore {
    /// Starts one, with a client that reaches it and tries nothing again by itself.
    pub(crate) async fn start() -> (LateStore, Arc<dyn ObjectStore>) {
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_bucket_name("bucket")
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .build()
            .unwrap();
        let seen = Arc::new(Seen {
            mood: watch::Sender::new(Mood::Prompt),
            held_back: watch::Sender::new(0),
            objects: Mutex::default(),
            parts: Mutex::default(),
        });
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (LateStore { seen, _server: AbortOnDropHandle::new(server) }, Arc::new(client))
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        self.seen.mood.send_replace(mood);
    }

    /// Waits until that many writes are held back.
    pub(crate) async fn has_held_back(&self, writes: usize) {
        self.seen.held_back.subscribe().wait_for(|held_back| *held_back >= writes).await.unwrap();
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.seen.objects.lock().unwrap().contains_key(&format!("/bucket/{key}"))
    }
}

async fn answer(
    State(seen): State<Arc<Seen>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default());
    let found = seen.objects.lock().unwrap().get(&path).cloned();
    match method {
        Method::HEAD | Method::GET => match found {
            Some(content) => whole(if method == Method::HEAD { Bytes::new() } else { content.clone() }, content.len()),
            None => said(StatusCode::NOT_FOUND, ""),
        },
        Method::POST if query.starts_with("uploads") => {
            *seen.parts.lock().unwrap() = Bytes::new();
            let begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
            said(StatusCode::OK, begun)
        }
        Method::PUT if query.contains("partNumber") => {
            let mut parts = seen.parts.lock().unwrap();
            *parts = [parts.as_ref(), body.as_ref()].concat().into();
            said(StatusCode::OK, "")
        }
        Method::PUT | Method::POST => {
            let content = content(&seen, &headers, body);
            write(seen, path, content).await
        }
        _ => said(StatusCode::NO_CONTENT, ""),
    }
}

/// What a write brings: a body, be it in parts, or another object of the store.
enum Content {
    Body(Bytes),
    Object(String),
}

fn content(seen: &Seen, headers: &HeaderMap, body: Bytes) -> Content {
    match headers.get("x-amz-copy-source") {
        Some(source) => Content::Object(format!("/{}", source.to_str().unwrap().trim_start_matches('/'))),
        None if body.starts_with(b"<") => Content::Body(seen.parts.lock().unwrap().clone()),
        None => Content::Body(body),
    }
}

/// The write has a life of its own: it does not end with the connection that brought it.
async fn write(seen: Arc<Seen>, path: String, content: Content) -> Response<Body> {
    if *seen.mood.borrow() == Mood::Refuses {
        return said(StatusCode::SERVICE_UNAVAILABLE, "<Error><Code>SlowDown</Code></Error>");
    }
    let written = tokio::spawn(async move {
        if *seen.mood.borrow() == Mood::HoldsBack {
            seen.held_back.send_modify(|held_back| *held_back += 1);
        }
        seen.mood.subscribe().wait_for(|mood| *mood != Mood::HoldsBack).await.unwrap();
        let content = match content {
            Content::Body(body) => body,
            Content::Object(source) => seen.objects.lock().unwrap()[&source].clone(),
        };
        seen.objects.lock().unwrap().insert(path, content);
    });
    written.await.unwrap();
    said(StatusCode::OK, "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>")
}

fn whole(body: Bytes, size_bytes: usize) -> Response<Body> {
    let response = Response::builder()
        .header(header::ETAG, "\"1\"")
        .header(header::LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")
        .header(header::CONTENT_LENGTH, size_bytes);
    response.body(body.into()).unwrap()
}

fn said(status: StatusCode, text: &'static str) -> Response<Body> {
    Response::builder().status(status).header(header::ETAG, "\"1\"").body(text.into()).unwrap()
}
