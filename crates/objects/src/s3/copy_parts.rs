//! Copies inside one store in parts, each made by the store of a range of the source: CopyObject ends at 5 GiB, and takes
//! as long as the object is large.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Method;
use object_store::PutMultipartOptions;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;

use super::answer::{element, required};
use super::{COPY_SOURCE, S3, copy_source};
use crate::classed::attributes;
use crate::error::StoreError;
use crate::location::Location;

/// A copy that is begun and neither completed nor aborted.
#[derive(Debug)]
pub struct CopyInParts {
    s3: Arc<S3>,
    source_bucket: String,
    target: Path,
    /// For messages.
    uri: String,
    id: String,
}

/// A part that the store has made.
#[derive(Clone, Debug)]
pub struct CopiedPart(PartId);

impl Location {
    /// Whether the store can be asked to copy an object in parts, and has not said that it does not know how.
    pub fn copies_in_parts(&self) -> bool {
        self.s3().is_some_and(|s3| !s3.has_customer_key && !s3.refuses_copies_in_parts.load(Ordering::Relaxed))
    }

    /// Remembers that the store does not know such copies; whether this is news.
    pub fn refused_copies_in_parts(&self) -> bool {
        self.s3().is_some_and(|s3| !s3.refuses_copies_in_parts.swap(true, Ordering::Relaxed))
    }

    /// Begins a copy in parts of an object of `source` to `key`; `None` where the store cannot be asked for one.
    pub async fn begin_copy_in_parts(&self, source: &Location, key: &str) -> Result<Option<CopyInParts>, StoreError> {
        let Some(s3) = self.s3().filter(|_| self.copies_in_parts()) else { return Ok(None) };
        let (target, uri) = (self.path(key)?, self.object_uri(key));
        let attributes = s3.storage_class.as_deref().map(attributes).unwrap_or_default();
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = s3.store.create_multipart_opts(&target, options).await;
        let id = id.map_err(|source| StoreError::of(uri.clone(), &source))?;
        let source_bucket = source.bucket().unwrap_or(&s3.bucket).to_owned();
        Ok(Some(CopyInParts { s3: Arc::clone(s3), source_bucket, target, uri, id }))
    }
}

impl CopyInParts {
    /// Has the store copy a range of `source` as the part of that number, which counts from 0, provided that the source
    /// still has the entity tag. Repeating it replaces the part.
    pub async fn copy(
        &self,
        number: usize,
        source: &Path,
        range: Range<u64>,
        entity_tag: Option<&str>,
    ) -> Result<CopiedPart, StoreError> {
        let from = copy_source(&self.source_bucket, source);
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let mut headers = vec![(COPY_SOURCE, from.as_str()), ("x-amz-copy-source-range", &bytes)];
        headers.extend(entity_tag.map(|tag| ("x-amz-copy-source-if-match", tag)));
        let number = (number + 1).to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", &self.id)];
        let copied = self.s3.send(Method::PUT, Some(&self.target), &query, &headers).await;
        let part = copied.and_then(|answer| part_id(&answer.body));
        part.map(CopiedPart).map_err(|source| self.failed(&source))
    }

    /// Makes an object of the parts, in the order in which they are given.
    pub async fn complete(&self, parts: Vec<CopiedPart>) -> Result<(), StoreError> {
        let parts = parts.into_iter().map(|part| part.0).collect();
        let completed = self.s3.store.complete_multipart(&self.target, &self.id, parts).await;
        completed.map(drop).map_err(|source| self.failed(&source))
    }

    /// Gives the copy up; what of it is there is dropped by the store.
    pub async fn abort(&self) -> Result<(), StoreError> {
        let aborted = self.s3.store.abort_multipart(&self.target, &self.id).await;
        aborted.map_err(|source| self.failed(&source))
    }

    fn failed(&self, source: &object_store::Error) -> StoreError {
        StoreError::of(self.uri.clone(), source)
    }
}

/// The part as the client names it when it completes an upload: with the checksum where the store took one, because an
/// upload that was begun with checksums is not completed without.
fn part_id(answer: &str) -> object_store::Result<PartId> {
    let tag = required(answer, "ETag")?;
    let checksum = |name: &str, theirs: &str| {
        element(answer, theirs).map(|checksum| format!("<{name}>{}</{name}>", escaped(&checksum)))
    };
    let checksums = [("checksum_sha256", "ChecksumSHA256"), ("checksum_crc64nvme", "ChecksumCRC64NVME")];
    let checksums: String = checksums.into_iter().filter_map(|(name, theirs)| checksum(name, theirs)).collect();
    let content_id = match checksums.is_empty() {
        true => tag,
        false => format!("<PartMetadata><e_tag>{}</e_tag>{checksums}</PartMetadata>", escaped(&tag)),
    };
    Ok(PartId { content_id })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
