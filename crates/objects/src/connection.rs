//! The connections of every store: how long they may be silent, and what of an answer the client itself drops.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use http::header::LOCATION;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

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
        self.client.execute(request).await.map(with_region).map(copy_status::noted)
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
}
