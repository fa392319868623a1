//! A store that speaks what S3 needs for parts, in memory: it counts what is in flight, and refuses or breaks what it is
//! told to. A real server does not say how many requests it had at once, nor does it fail at will.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

const COPY_SOURCE: &str = "x-amz-copy-source";

/// How the store behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Behaviour {
    /// Each reading and each part takes at least so long.
    pub(super) delay: Duration,
    /// Its objects have no entity tag that a request can be conditioned on.
    pub(super) has_weak_tags: bool,
    /// The first reading that begins there breaks off after this many bytes.
    pub(super) breaks: Option<(u64, u64)>,
    /// The part of this number is refused for good.
    pub(super) refuses_part: Option<u32>,
    /// So many aborts fail for the moment.
    pub(super) aborts_failed: u32,
    /// What it says to a copy of a part, where it does not copy: a status, and a code.
    pub(super) refuses_copies: Option<(u16, &'static str)>,
    /// The same to a copy of a part alone.
    pub(super) refuses_copies_of_parts: Option<(u16, &'static str)>,
    /// Its objects are written to after they were looked at: readings have this tag, whatever they are conditioned on.
    pub(super) tag_when_read: Option<&'static str>,
    /// Its folders may not be listed.
    pub(super) forbids_listings: bool,
    /// It keeps no content, only sizes.
    pub(super) is_forgetful: bool,
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Bytes),
    Size(u64),
}

/// What it has and what it has seen.
#[derive(Debug, Default)]
pub(super) struct Inside {
    behaviour: Behaviour,
    objects: BTreeMap<String, Content>,
    uploads: BTreeMap<String, (String, BTreeMap<u32, Content>)>,
    uploads_begun: u64,
    reading: usize,
    putting: usize,
    pub(super) reading_max: usize,
    pub(super) putting_max: usize,
    /// The range and the condition of each reading.
    pub(super) readings: Vec<(Option<Range<u64>>, Option<String>)>,
    pub(super) aborts: u32,
    /// Looks at single objects, and at folders.
    pub(super) heads: u32,
    pub(super) listings: u32,
    /// The source, the range and the condition of each part that was copied; of a whole object only the source.
    pub(super) copies: Vec<(String, String, Option<String>)>,
    pub(super) copying_max: usize,
    copying: usize,
    /// The bodies that completed an upload.
    pub(super) completions: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct PartStore {
    inside: Arc<Mutex<Inside>>,
    endpoint: String,
    _server: Arc<AbortOnDropHandle<()>>,
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Size(size) => *size,
        }
    }

    /// Of several, one after the other.
    fn joined(parts: Vec<Content>) -> Content {
        let size = parts.iter().map(Content::size).sum();
        let mut joined = Vec::new();
        for part in parts {
            let Content::Bytes(bytes) = part else { return Content::Size(size) };
            joined.extend_from_slice(&bytes);
        }
        Content::Bytes(joined.into())
    }
}

impl PartStore {
    pub(super) async fn start(behaviour: Behaviour) -> PartStore {
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let inside = Arc::new(Mutex::new(Inside { behaviour, ..Inside::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inside));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        PartStore { inside, endpoint, _server: Arc::new(AbortOnDropHandle::new(server)) }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(super) fn put(&self, key: &str, content: Bytes) {
        self.inside().objects.insert(format!("/bucket/{key}"), Content::Bytes(content));
    }

    /// An object of which only the size is there.
    pub(super) fn put_size(&self, key: &str, size_bytes: u64) {
        self.inside().objects.insert(format!("/bucket/{key}"), Content::Size(size_bytes));
    }

    pub(super) fn size_bytes(&self, key: &str) -> Option<u64> {
        self.size_bytes_at(&format!("/bucket/{key}"))
    }

    /// The same of any bucket.
    pub(super) fn size_bytes_at(&self, path: &str) -> Option<u64> {
        self.inside().objects.get(path).map(Content::size)
    }

    pub(super) fn content(&self, key: &str) -> Option<Bytes> {
        match self.inside().objects.get(&format!("/bucket/{key}"))? {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Size(_) => None,
        }
    }

    pub(super) fn unfinished_uploads(&self) -> usize {
        self.inside().uploads.len()
    }
}

type Shared = Arc<Mutex<Inside>>;
type Answer = Response<Body>;

async fn answer(State(inside): State<Shared>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let query: BTreeMap<String, String> = parts.uri.query().unwrap_or_default().split('&').map(pair).collect();
    let path = parts.uri.path().to_owned();
    match (parts.method, query.get("uploadId"), query.get("partNumber")) {
        (Method::HEAD, ..) => head(&inside, &path),
        (Method::GET, ..) if query.contains_key("list-type") => list(&inside, &query),
        (Method::GET, ..) if query.contains_key("uploads") => list_uploads(&inside, &query),
        (Method::GET, ..) => get(&inside, &path, &parts.headers).await,
        (Method::POST, None, _) => begin(&inside, path),
        (Method::PUT, Some(upload), Some(number)) if parts.headers.contains_key(COPY_SOURCE) => {
            copy_part(&inside, upload, number.parse().unwrap(), &parts.headers).await
        }
        (Method::PUT, Some(upload), Some(number)) => put_part(&inside, upload, number.parse().unwrap(), body).await,
        (Method::POST, Some(upload), _) => {
            let said = to_bytes(body, usize::MAX).await.unwrap();
            inside.lock().unwrap().completions.push(String::from_utf8(said.to_vec()).unwrap());
            complete(&inside, upload)
        }
        (Method::DELETE, Some(upload), _) => abort(&inside, upload),
        (Method::PUT, ..) if parts.headers.contains_key(COPY_SOURCE) => copy(&inside, path, &parts.headers),
        (Method::PUT, ..) => {
            let content = to_bytes(body, usize::MAX).await.unwrap();
            inside.lock().unwrap().objects.insert(path, Content::Bytes(content));
            Response::builder().header(header::ETAG, "\"tag\"").body(Body::empty()).unwrap()
        }
        (method, ..) => panic!("{method} {path} is not known"),
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

fn failed(status: StatusCode, code: &str) -> Answer {
    let said = format!("<Error><Code>{code}</Code><Message>as it was told to</Message></Error>");
    Response::builder().status(status).body(said.into()).unwrap()
}

fn tag_of(inside: &Inside) -> &'static str {
    if inside.behaviour.has_weak_tags { "W/\"tag\"" } else { "\"tag\"" }
}

fn described_as(tag: &str) -> axum::http::response::Builder {
    Response::builder().header(header::ETAG, tag).header(header::LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")
}

fn head(inside: &Shared, path: &str) -> Answer {
    let mut inside = inside.lock().unwrap();
    inside.heads += 1;
    let Some(content) = inside.objects.get(path) else { return failed(StatusCode::NOT_FOUND, "NoSuchKey") };
    described_as(tag_of(&inside)).header(header::CONTENT_LENGTH, content.size()).body(Body::empty()).unwrap()
}

/// All in one page.
fn list(inside: &Shared, query: &BTreeMap<String, String>) -> Answer {
    let mut inside = inside.lock().unwrap();
    inside.listings += 1;
    if inside.behaviour.forbids_listings {
        return failed(StatusCode::FORBIDDEN, "AccessDenied");
    }
    let prefix = format!("/bucket/{}", query["prefix"].replace("%2F", "/"));
    let below = inside.objects.iter().filter(|(path, _)| path.starts_with(&prefix));
    let object = |(path, content): (&String, &Content)| {
        let (key, size) = (path.trim_start_matches("/bucket/"), content.size());
        format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;tag&quot;</ETag>\
             <LastModified>1970-01-01T00:00:00.000Z</LastModified></Contents>"
        )
    };
    let objects: String = below.map(object).collect();
    Response::new(format!("<ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>").into())
}

async fn get(shared: &Shared, path: &str, headers: &HeaderMap) -> Answer {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = text(header::RANGE).map(|range| {
        let (from, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap().to_owned();
        from.parse::<u64>().unwrap()..last.parse::<u64>().unwrap() + 1
    });
    let (delay, content, breaks_at) = {
        let mut inside = shared.lock().unwrap();
        inside.readings.push((asked.clone(), text(header::IF_MATCH)));
        let Some(Content::Bytes(content)) = inside.objects.get(path).cloned() else {
            return failed(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let from = asked.as_ref().map_or(0, |asked| asked.start);
        let breaks_at = inside.behaviour.breaks.take_if(|(at, _)| *at == from).map(|(_, after)| after);
        inside.reading += 1;
        inside.reading_max = inside.reading_max.max(inside.reading);
        (inside.behaviour.delay, content, breaks_at)
    };
    tokio::time::sleep(delay).await;
    let mut inside = shared.lock().unwrap();
    inside.reading -= 1;
    let range = asked.clone().unwrap_or(0..content.len() as u64);
    let body = content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
    let tag = inside.behaviour.tag_when_read.unwrap_or(tag_of(&inside));
    let mut response = described_as(tag).header(header::CONTENT_LENGTH, body.len());
    if asked.is_some() {
        let said = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
        response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, said);
    }
    let Some(after) = breaks_at else { return response.body(body.into()).unwrap() };
    let begun = body.slice(..usize::try_from(after).unwrap());
    let chunks = [Ok(begun), Err(std::io::Error::other("the connection breaks"))];
    response.body(Body::from_stream(futures::stream::iter(chunks))).unwrap()
}

fn begin(inside: &Shared, path: String) -> Answer {
    let mut inside = inside.lock().unwrap();
    inside.uploads_begun += 1;
    let id = format!("upload-{}", inside.uploads_begun);
    inside.uploads.insert(id.clone(), (path, BTreeMap::new()));
    let said = format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
    Response::new(said.into())
}

async fn put_part(shared: &Shared, upload: &str, number: u32, body: Body) -> Answer {
    let (delay, is_refused, is_forgetful) = {
        let mut inside = shared.lock().unwrap();
        inside.putting += 1;
        inside.putting_max = inside.putting_max.max(inside.putting);
        let behaviour = &inside.behaviour;
        (behaviour.delay, behaviour.refuses_part == Some(number), behaviour.is_forgetful)
    };
    let content = to_bytes(body, usize::MAX).await;
    tokio::time::sleep(delay).await;
    let mut inside = shared.lock().unwrap();
    inside.putting -= 1;
    let (Ok(content), false) = (content, is_refused) else { return failed(StatusCode::BAD_REQUEST, "BadDigest") };
    let Some((_, parts)) = inside.uploads.get_mut(upload) else {
        return failed(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    let kept = if is_forgetful { Content::Size(content.len() as u64) } else { Content::Bytes(content) };
    parts.insert(number, kept);
    Response::builder().header(header::ETAG, format!("\"part-{number}\"")).body(Body::empty()).unwrap()
}

fn copy(inside: &Shared, path: String, headers: &HeaderMap) -> Answer {
    let mut inside = inside.lock().unwrap();
    let source = headers[COPY_SOURCE].to_str().unwrap().to_owned();
    inside.copies.push((source.clone(), String::new(), None));
    if let Some((status, code)) = inside.behaviour.refuses_copies {
        return failed(StatusCode::from_u16(status).unwrap(), code);
    }
    // The slash before the bucket may be left out.
    let Some(content) = inside.objects.get(&format!("/{}", source.trim_start_matches('/'))).cloned() else {
        return failed(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    inside.objects.insert(path, content);
    Response::new("<CopyObjectResult><ETag>\"tag\"</ETag></CopyObjectResult>".to_owned().into())
}

async fn copy_part(shared: &Shared, upload: &str, number: u32, headers: &HeaderMap) -> Answer {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (source, range) = (text(COPY_SOURCE).unwrap(), text("x-amz-copy-source-range").unwrap());
    let delay = {
        let mut inside = shared.lock().unwrap();
        inside.copies.push((source.clone(), range.clone(), text("x-amz-copy-source-if-match")));
        inside.copying += 1;
        inside.copying_max = inside.copying_max.max(inside.copying);
        inside.behaviour.delay
    };
    tokio::time::sleep(delay).await;
    let mut inside = shared.lock().unwrap();
    inside.copying -= 1;
    let behaviour = &inside.behaviour;
    if let Some((status, code)) = behaviour.refuses_copies.or(behaviour.refuses_copies_of_parts) {
        return failed(StatusCode::from_u16(status).unwrap(), code);
    }
    let (from, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let size = last.parse::<u64>().unwrap() + 1 - from.parse::<u64>().unwrap();
    let Some((_, parts)) = inside.uploads.get_mut(upload) else {
        return failed(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    parts.insert(number, Content::Size(size));
    let said = format!(
        "<CopyPartResult><ETag>&quot;copied-{number}&quot;</ETag>\
         <ChecksumSHA256>sum/{number}=</ChecksumSHA256></CopyPartResult>"
    );
    Response::new(said.into())
}

/// One upload a page.
fn list_uploads(inside: &Shared, query: &BTreeMap<String, String>) -> Answer {
    let inside = inside.lock().unwrap();
    let prefix = query["prefix"].replace("%2F", "/");
    let keys = inside.uploads.iter().map(|(id, (path, _))| (id, path.trim_start_matches("/bucket/")));
    let is_after = |id: &String| query.get("upload-id-marker").is_none_or(|marker| id > marker);
    let mut rest = keys.filter(|(id, key)| key.starts_with(&prefix) && is_after(id));
    let upload = rest.next().map_or_else(String::new, |(id, key)| {
        format!(
            "<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>\
             <NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>"
        )
    });
    let is_truncated = rest.next().is_some();
    let said = format!(
        "<ListMultipartUploadsResult><IsTruncated>{is_truncated}</IsTruncated>{upload}</ListMultipartUploadsResult>"
    );
    Response::new(said.into())
}

fn complete(inside: &Shared, upload: &str) -> Answer {
    let mut inside = inside.lock().unwrap();
    let Some((path, parts)) = inside.uploads.remove(upload) else {
        return failed(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    inside.objects.insert(path, Content::joined(parts.into_values().collect()));
    Response::new(
        "<CompleteMultipartUploadResult><ETag>\"tag\"</ETag></CompleteMultipartUploadResult>".to_owned().into(),
    )
}

fn abort(inside: &Shared, upload: &str) -> Answer {
    let mut inside = inside.lock().unwrap();
    inside.aborts += 1;
    if inside.aborts <= inside.behaviour.aborts_failed {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    inside.uploads.remove(upload);
    Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap()
}
