//! How far a copy inside Azure is. Its answer may come before its work is done; the client tells neither, so the status is
//! noted beside each answer that has one.

use http::HeaderMap;
use object_store::client::HttpResponse;
use object_store::{GetOptions, ObjectStore};

use crate::error::StoreError;
use crate::location::Location;

/// Headers of Azure about the last copy that an object is the target of.
const STATUS: &str = "x-ms-copy-status";
const PROGRESS: &str = "x-ms-copy-progress";
const DESCRIPTION: &str = "x-ms-copy-status-description";

/// How far the last copy to an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyStatus {
    /// The object is whole.
    Done,
    /// The store goes on by itself.
    Pending {
        /// So far.
        copied_bytes: u64,
    },
    /// The object is not what was asked for, and will not be.
    Failed {
        /// In the store's words.
        said: String,
    },
}

/// Keeps the status where the client hands it on.
pub(crate) fn noted(mut response: HttpResponse) -> HttpResponse {
    if let Some(status) = status_of(response.headers()) {
        response.extensions_mut().insert(status);
    }
    response
}

fn status_of(headers: &HeaderMap) -> Option<CopyStatus> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let status = text(STATUS)?;
    Some(match status.as_str() {
        "success" => CopyStatus::Done,
        "pending" => {
            let copied = text(PROGRESS).and_then(|progress| progress.split('/').next()?.trim().parse().ok());
            CopyStatus::Pending { copied_bytes: copied.unwrap_or(0) }
        }
        _ => {
            let why = text(DESCRIPTION).map(|why| format!(": {why}")).unwrap_or_default();
            CopyStatus::Failed { said: format!("{status}{why}") }
        }
    })
}

impl Location {
    /// Whether the store may answer a copy before its work is done, and so takes objects of any size in one request.
    pub fn copies_in_background(&self) -> bool {
        self.is_azure()
    }

    /// How far the last copy to `key` is; done at once where no store works in the background.
    pub async fn copy_status(&self, key: &str) -> Result<CopyStatus, StoreError> {
        if !self.copies_in_background() {
            return Ok(CopyStatus::Done);
        }
        let options = GetOptions { head: true, ..GetOptions::default() };
        let answer = self.store().get_opts(&self.path(key)?, options).await;
        let answer = answer.map_err(|source| StoreError::of(self.object_uri(key), &source))?;
        Ok(answer.extensions.get().cloned().unwrap_or(CopyStatus::Done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(&'static str, &'static str)]) -> Option<CopyStatus> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        status_of(&headers.collect())
    }

    #[test]
    fn only_what_azure_calls_a_success_is_done() {
        assert_eq!(status(&[]), None);
        assert_eq!(status(&[(STATUS, "success"), (PROGRESS, "7/7")]), Some(CopyStatus::Done));
        let pending = status(&[(STATUS, "pending"), (PROGRESS, "3/7")]);
        assert_eq!(pending, Some(CopyStatus::Pending { copied_bytes: 3 }));
        assert_eq!(status(&[(STATUS, "pending")]), Some(CopyStatus::Pending { copied_bytes: 0 }));
        let failed = status(&[(STATUS, "failed"), (DESCRIPTION, "404 BlobNotFound")]);
        assert_eq!(failed, Some(CopyStatus::Failed { said: "failed: 404 BlobNotFound".into() }));
        for other in ["aborted", "", "Success?"] {
            assert!(matches!(status(&[(STATUS, other)]), Some(CopyStatus::Failed { .. })), "{other}");
        }
    }
}
