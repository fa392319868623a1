//! The connections of every store: how long they may be silent, and what of an answer the client itself drops.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use http::header::LOCATION;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::broken::{is_final, note_broken};
use crate::copy_status;

/// The header in which S3 names the region of a bucket.
const REGION: &str = "x-amz-bucket-region";

/// Makes the clients of stores.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    silence_max: Duration,
    last: Arc<Mutex<Option<HttpClient>>>,
}

impl Connector {
    pub(crate) fn new(silence_max: Duration) -> Connector {
        Connector { silence_max, last: Arc::default() }
    }

    /// The client that was made last: a store's own, for those of its credentials are made before.
    pub(crate) fn client(&self) -> Option<HttpClient> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The limit on the whole of a request would end every object that takes longer to read, and begin it anew.
        let options = options.clone().with_timeout_disabled().with_read_timeout(self.silence_max);
        let client = ReqwestConnector::default().connect(&options)?;
        let client = HttpClient::new(Requests { client });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

#[derive(Debug)]
struct Requests {
    client: HttpClient,
}

#[async_trait]
impl HttpService for Requests {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.client.execute(request).await;
        let is_broken = match &answer {
            Ok(response) => !is_final(response.status().as_u16()),
            Err(error) => error.kind() != HttpErrorKind::Connect,
        };
        if is_broken {
            note_broken();
        }
        answer.map(with_region).map(copy_status::noted)
    }
}

/// A redirect to another region has no address to go to; the client says only that, and drops the region's name.
fn with_region(response: HttpResponse) -> HttpResponse {
    let headers = response.headers();
    let is_bare = response.status().is_redirection() && !headers.contains_key(LOCATION);
    let region = headers.get(REGION).and_then(|region| region.to_str().ok()).map(str::to_owned);
    let (true, Some(region)) = (is_bare, region) else { return response };
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::BAD_REQUEST;
    let said = format!(
        "<Error><Code>PermanentRedirect</Code><Message>the bucket is in another region</Message>\
         <Region>{region}</Region></Error>"
    );
    HttpResponse::from_parts(parts, said.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use object_store::ObjectStoreExt;
    use object_store::aws::AmazonS3Builder;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn answer(status: StatusCode, header: Option<(&str, &str)>) -> HttpResponse {
        let mut response = http::Response::builder().status(status);
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        response.body(String::new().into()).unwrap()
    }

    #[tokio::test]
    async fn a_redirect_without_an_address_names_the_region() {
        let moved = StatusCode::MOVED_PERMANENTLY;
        let told = with_region(answer(moved, Some((REGION, "eu-west-1"))));
        assert_eq!(told.status(), StatusCode::BAD_REQUEST);
        let body = told.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("<Region>eu-west-1</Region>"));
        for other in
            [answer(moved, None), answer(moved, Some(("location", "http://other"))), answer(StatusCode::OK, None)]
        {
            let status = other.status();
            assert_eq!(with_region(other).status(), status);
        }
    }

    /// A server that answers every request, but for the first where that is to break: it is read, and its connection ends.
    async fn breaking_server(breaks_first: bool) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut breaks = breaks_first;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 65_536];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"PUT "));
                if !std::mem::take(&mut breaks) {
                    let answer = "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_try_that_broke_is_counted_though_the_next_one_is_answered() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (breaks, expected) in [(true, 1), (false, 0)] {
            let store = AmazonS3Builder::new()
                .with_endpoint(breaking_server(breaks).await)
                .with_allow_http(true)
                .with_skip_signature(true)
                .with_bucket_name("bucket")
                .with_http_connector(Connector::new(Duration::from_secs(30)))
                .build()
                .unwrap();
            let broken = Arc::new(AtomicU64::new(0));
            let path = object_store::path::Path::from("a");
            crate::counting_broken(Arc::clone(&broken), store.put(&path, "content".into())).await.unwrap();
            assert_eq!(broken.load(Ordering::Relaxed), expected);
        }
    }
}
