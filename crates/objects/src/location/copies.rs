//! Copies that a store makes inside itself, within a bucket or between two of one account, and what it is not asked for
//! any more because it refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use object_store::ObjectStoreExt;

use super::Location;
use crate::error::StoreError;

/// A store that refused so many copies in a row is not asked for more.
const COPIES_REFUSED_MAX: u32 = 3;

/// Refusals of one bucket since the last such copy. A policy may forbid the other bucket alone, so they count apart.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    inside: AtomicU32,
    from_others: AtomicU32,
}

impl Location {
    /// Whether the store of this place can be asked to copy objects of `source` itself, and has not refused for good.
    pub fn copies_of(&self, source: &Location) -> bool {
        let is_near = (self.same_store(source) && !self.opened.has_storage_class) || self.is_beside(source);
        is_near && self.refusals(source).load(Ordering::Relaxed) < COPIES_REFUSED_MAX
    }

    /// Has the store copy an object of `source`.
    pub async fn copy_of(&self, source: &Location, source_key: &str, key: &str) -> Result<(), StoreError> {
        let (from, to) = (source.path(source_key)?, self.path(key)?);
        let copied = match self.s3().filter(|_| !self.same_store(source) || self.opened.has_storage_class) {
            Some(s3) => s3.copy(&source.bucket, &from, &to).await,
            None => self.opened.store.copy(&from, &to).await,
        };
        copied.map_err(|error| self.failed(key, &error))
    }

    /// Remembers that the store refused to copy an object of `source` that could be read and written. Whether it is asked
    /// no more from now on: at once when it does not know the request, after a few refusals without a copy between them
    /// otherwise.
    pub fn refused_copy(&self, source: &Location, for_good: bool) -> bool {
        let more = if for_good { COPIES_REFUSED_MAX } else { 1 };
        let before = self.refusals(source).fetch_add(more, Ordering::Relaxed);
        before < COPIES_REFUSED_MAX && before + more >= COPIES_REFUSED_MAX
    }

    /// The store has copied an object of `source`: earlier refusals were about single objects.
    pub fn copied(&self, source: &Location) {
        let forget = |count| (count < COPIES_REFUSED_MAX).then_some(0);
        let _ = self.refusals(source).fetch_update(Ordering::Relaxed, Ordering::Relaxed, forget);
    }

    /// Another bucket of the same endpoint with the same credentials, or the same one: the pace of a store is shared by its
    /// buckets alone.
    fn is_beside(&self, other: &Location) -> bool {
        let knows_how = self.s3().is_some_and(|s3| s3.copies_from_other_buckets());
        knows_how && other.s3().is_some() && Arc::ptr_eq(&self.opened.pace, &other.opened.pace)
    }

    fn refusals(&self, source: &Location) -> &AtomicU32 {
        match self.same_store(source) {
            true => &self.opened.refusals.inside,
            false => &self.opened.refusals.from_others,
        }
    }
}
