//! Uploads that were begun and never completed or aborted: a process that dies leaves them, nobody sees them in a listing
//! of objects, and they are paid for.

use http::Method;
use object_store::multipart::MultipartStore;

use super::S3;
use super::answer::{element, elements, required};
use crate::error::StoreError;
use crate::location::Location;

/// An upload to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    id: String,
}

impl Location {
    /// Whether the store tells its unfinished uploads. Azure drops the parts of its own after a week, and names none.
    pub fn lists_uploads(&self) -> bool {
        self.s3().is_some()
    }

    /// The unfinished uploads to `key`; none where the store tells none. Not every store lists them by a prefix that is no
    /// whole key.
    pub async fn unfinished_uploads(&self, key: &str) -> Result<Vec<UnfinishedUpload>, StoreError> {
        let Some(s3) = self.s3() else { return Ok(Vec::new()) };
        let path = self.path(key)?;
        let listed = uploads_of(s3, path.as_ref()).await;
        listed.map_err(|source| StoreError::of(self.object_uri(key), &source))
    }

    /// Aborts an unfinished upload to `key`; one that is gone is aborted already.
    pub async fn abort_upload(&self, key: &str, upload: &UnfinishedUpload) -> Result<(), StoreError> {
        let Some(s3) = self.s3() else { return Ok(()) };
        let path = self.path(key)?;
        let aborted = s3.store.abort_multipart(&path, &upload.id).await;
        match aborted.map_err(|source| StoreError::of(self.object_uri(key), &source)) {
            Ok(()) | Err(StoreError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn uploads_of(s3: &S3, key: &str) -> object_store::Result<Vec<UnfinishedUpload>> {
    let mut uploads = Vec::new();
    let mut after: Option<(String, String)> = None;
    loop {
        let mut query = vec![("uploads", ""), ("prefix", key)];
        if let Some((key_marker, id_marker)) = &after {
            query.extend([("key-marker", key_marker.as_str()), ("upload-id-marker", id_marker)]);
        }
        let page = s3.send(Method::GET, None, &query, &[]).await?.body;
        for upload in elements(&page, "Upload") {
            if element(upload, "Key").as_deref() == Some(key) {
                uploads.push(UnfinishedUpload { id: required(upload, "UploadId")? });
            }
        }
        let next = (element(&page, "NextKeyMarker"), element(&page, "NextUploadIdMarker"));
        let is_last = element(&page, "IsTruncated").as_deref() != Some("true");
        match next {
            (Some(key_marker), Some(id_marker))
                if !is_last && after.as_ref().is_none_or(|(_, id)| *id != id_marker) =>
            {
                after = Some((key_marker, id_marker));
            }
            _ => return Ok(uploads),
        }
    }
}
