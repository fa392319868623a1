//! A store that goes on copying after it answered, as Azure may: its copy is waited for as long as it gets on. Azure's
//! emulator is always done at once, so its answers are told here.

use super::*;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Response, StatusCode, header};
use object_store::azure::MicrosoftAzureBuilder;
use std::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

const SIZE_BYTES: u64 = 3 << 30;

/// What the store says of the target, one answer after the other; the last one stays.
type Statuses = Arc<Mutex<Vec<&'static str>>>;

struct Azure {
    way: Way,
    left: Statuses,
    _server: AbortOnDropHandle<()>,
}

async fn azure(statuses: &[&'static str]) -> Azure {
    // An error only says that the process has chosen a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = MicrosoftAzureBuilder::new()
        .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
        .with_allow_http(true)
        .with_account("account")
        .with_access_key("a2V5")
        .with_container_name("container");
    let left: Statuses = Arc::new(Mutex::new(statuses.to_vec()));
    let router = Router::new().fallback(answer).with_state(Arc::clone(&left));
    let server = AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    let stores = Stores::new().with_azure("az://container", client).unwrap();
    let (source, target) = (stores.open("az://container").unwrap(), stores.open("az://container/to").unwrap());
    Azure { way: Way { name: "azure", source, target, _folder: tempfile::tempdir().unwrap() }, left, _server: server }
}

async fn answer(State(left): State<Statuses>, method: Method, uri: axum::http::Uri) -> Response<Body> {
    let described = Response::builder()
        .header(header::ETAG, "\"tag\"")
        .header(header::LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")
        .header(header::CONTENT_LENGTH, SIZE_BYTES);
    match method {
        Method::HEAD if uri.path() == "/container/a/b" => described.body(Body::empty()).unwrap(),
        Method::HEAD => {
            let mut left = left.lock().unwrap();
            let said = if left.len() > 1 { left.remove(0) } else { left[0] };
            let (status, progress) = said.split_once(' ').unwrap_or((said, "0"));
            let progress = format!("{progress}/{SIZE_BYTES}");
            described
                .header("x-ms-copy-status", status)
                .header("x-ms-copy-progress", progress)
                .body(Body::empty())
                .unwrap()
        }
        Method::PUT => {
            let accepted = Response::builder().status(StatusCode::ACCEPTED);
            accepted.header("x-ms-copy-status", "pending").body(Body::empty()).unwrap()
        }
        other => panic!("{other} {uri}: no byte passes through the worker"),
    }
}

async fn copied(azure: &Azure, silence_max: Duration) -> (Result<(), Fault>, Copier) {
    let (copier, _) = azure.way.copier();
    let copier = Copier { target: Place::new(azure.way.target.clone(), Side::Target, silence_max), ..copier };
    let source = copier.source.head("a/b").await.unwrap().unwrap();
    let file = FileCopy { source_key: "a/b".into(), target_key: "c/d".into(), source, checksum: None, shared: false };
    let meter = super::super::FileMeter { meter: &copier.meter, reached: std::sync::atomic::AtomicU64::new(0) };
    let copied = copier.copy_once(&file, &meter).await;
    (copied, copier.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_the_store_goes_on_with_is_done_when_the_store_says_so_and_its_progress_counts() {
    let azure = azure(&["pending 0", "pending 1000", "pending 1000", "pending 2000000", "success"]).await;
    let (copied, copier) = copied(&azure, TIMEOUT).await;
    assert_eq!(copied, Ok(()));
    assert_eq!(*azure.left.lock().unwrap(), ["success"], "it was waited for");
    assert_eq!(copier.meter.bytes(), SIZE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_the_store_gave_up_is_no_copy() {
    for (end, words) in [("failed", "failed"), ("aborted", "aborted")] {
        let azure = azure(&["pending 5", end]).await;
        let (copied, _) = copied(&azure, TIMEOUT).await;
        assert!(matches!(&copied, Err(Fault::Transient(reason)) if reason.contains(words)), "{copied:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_gets_on_is_not_silent_and_one_that_does_not_is() {
    let silence_max = Duration::from_millis(400);
    let azure_that_grows =
        azure(&["pending 1", "pending 2", "pending 3", "pending 4", "pending 5", "pending 6", "pending 7", "success"])
            .await;
    let began = Instant::now();
    let (copied_slowly, _) = copied(&azure_that_grows, silence_max).await;
    assert_eq!(copied_slowly, Ok(()));
    assert!(began.elapsed() > silence_max, "it took longer than a silence may");
    let azure_that_stands = azure(&["pending 5"]).await;
    let (copied, copier) = copied(&azure_that_stands, silence_max).await;
    assert!(matches!(&copied, Err(Fault::Outage(reason)) if reason.contains("silent")), "{copied:?}");
    assert!(copier.meter.bytes() < SIZE_BYTES, "a pending copy is never taken for done");
}
