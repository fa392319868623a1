//! A store whose objects are written into one of its storage classes, or access tiers at Azure.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Writes by `store`, into a class.
#[derive(Debug)]
pub(crate) struct Classed {
    store: Arc<dyn ObjectStore>,
    class: String,
}

impl Classed {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, class: &str) -> Self {
        Self { store, class: class.to_owned() }
    }
}

/// What a request that begins an object says of its class.
pub(crate) fn attributes(class: &str) -> Attributes {
    Attributes::from_iter([(Attribute::StorageClass, class.to_owned())])
}

impl fmt::Display for Classed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, storage class {}", self.store, self.class)
    }
}

#[async_trait]
impl ObjectStore for Classed {
    async fn put_opts(&self, path: &Path, content: PutPayload, options: PutOptions) -> Result<PutResult> {
        let options = PutOptions { attributes: attributes(&self.class), ..options };
        self.store.put_opts(path, content, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let options = PutMultipartOptions { attributes: attributes(&self.class), ..options };
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    /// A copy by the client has no word for the class; see `Location::copies_of`.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
