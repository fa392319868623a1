//! Tries at a place what copies will ask of its store, in a scratch folder that is removed again, and says what is missing.

use bytes::Bytes;
use futures::StreamExt;
use object_store::ObjectStoreExt;

use crate::error::StoreError;
use crate::location::Location;

/// The size of a first part: the least that S3 takes.
const PART_BYTES: usize = 5 << 20;
/// What is written.
const CONTENT: &[u8] = b"ferry tries whether this place can be written";

/// One thing that a store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Whether an object that is not there is said to be missing.
    Missing,
    /// The keys below a prefix.
    List,
    /// A whole object is written.
    Put,
    /// What is known of it.
    Head,
    /// It is read.
    Get,
    /// The store copies it inside itself.
    Copy,
    /// An object is written in parts.
    Multipart,
    /// An object is deleted.
    Delete,
}

impl Ask {
    /// As people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::List => "list",
            Self::Put => "put",
            Self::Head => "head",
            Self::Get => "get",
            Self::Copy => "copy",
            Self::Multipart => "multipart",
            Self::Delete => "delete",
        }
    }

    /// What does not work without it.
    #[must_use]
    pub fn needed_for(self) -> &'static str {
        match self {
            Self::Missing => "nothing: without it, what is missing is told as what may not be seen",
            Self::List => "snapshots that are named by a prefix, and `snapshot create`",
            Self::Put => "targets",
            Self::Head | Self::Get => "sources and targets",
            Self::Copy => "nothing: without it, objects are streamed through the workers",
            Self::Multipart => "targets: objects of more than 8 MiB",
            Self::Delete => "targets: the clean-up of jobs that do not complete",
        }
    }

    /// Whether jobs run without it.
    #[must_use]
    pub fn is_needed(self) -> bool {
        !matches!(self, Self::Missing | Self::Copy)
    }
}

/// What became of one thing that was asked.
#[derive(Debug)]
pub struct Answer {
    /// What was asked.
    pub ask: Ask,
    /// Why it does not work.
    pub outcome: Result<(), String>,
}

/// Asks all of it below `folder`, which must not exist. Nothing is left there where deleting works.
pub async fn probe(location: &Location, folder: &str) -> Vec<Answer> {
    let (whole, copied, parts) = (format!("{folder}/whole"), format!("{folder}/copied"), format!("{folder}/parts"));
    let mut answers = vec![Answer { ask: Ask::Missing, outcome: missing(location, &whole).await }];
    let put = location.write(&whole, Bytes::from_static(CONTENT)).await.map_err(told);
    let is_put = put.is_ok();
    answers.push(Answer { ask: Ask::Put, outcome: put });
    if is_put {
        answers.push(Answer { ask: Ask::Head, outcome: head(location, &whole).await });
        answers.push(Answer { ask: Ask::Get, outcome: get(location, &whole, CONTENT).await });
        answers.push(Answer { ask: Ask::Copy, outcome: copy(location, &whole, &copied).await });
        answers.push(Answer { ask: Ask::Multipart, outcome: multipart(location, &parts).await });
    }
    answers.push(Answer { ask: Ask::List, outcome: list(location, folder, is_put.then_some(&*whole)).await });
    if is_put {
        answers.push(Answer { ask: Ask::Delete, outcome: delete(location, &[&whole, &copied, &parts]).await });
    }
    answers
}

/// Asks only what reads: the first object that a listing shows.
pub async fn probe_reading(location: &Location) -> Vec<Answer> {
    let mut answers = Vec::new();
    let first = match location.list("") {
        Ok(mut objects) => objects.next().await.transpose(),
        Err(error) => Err(error),
    };
    let object = match first {
        Ok(object) => {
            answers.push(Answer { ask: Ask::List, outcome: Ok(()) });
            object
        }
        Err(error) => {
            answers.push(Answer { ask: Ask::List, outcome: Err(told(error)) });
            None
        }
    };
    if let Some(object) = object {
        answers.push(Answer { ask: Ask::Head, outcome: location.head(&object.key).await.map(drop).map_err(told) });
        let read = location.read_range(&object.key, 0..1).await;
        // An empty object has no first byte.
        let outcome = if object.size_bytes == 0 { Ok(()) } else { read.map(drop).map_err(told) };
        answers.push(Answer { ask: Ask::Get, outcome });
    }
    answers
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn told(error: StoreError) -> String {
    error.to_string()
}

async fn missing(location: &Location, key: &str) -> Result<(), String> {
    match location.head(key).await {
        Err(StoreError::Missing { .. }) => Ok(()),
        Ok(_) => Err(format!("{} exists already", location.object_uri(key))),
        Err(error) => Err(told(error)),
    }
}

async fn head(location: &Location, key: &str) -> Result<(), String> {
    let size_bytes = location.size_bytes(key).await.map_err(told)?;
    match size_bytes == CONTENT.len() as u64 {
        true => Ok(()),
        false => Err(format!("{} has {size_bytes} bytes, {} were written", location.object_uri(key), CONTENT.len())),
    }
}

async fn get(location: &Location, key: &str, written: &[u8]) -> Result<(), String> {
    let read = location.read(key, written.len() as u64).await.map_err(told)?;
    match read == written {
        true => Ok(()),
        false => Err(format!("{} is not what was written", location.object_uri(key))),
    }
}

async fn copy(location: &Location, from: &str, to: &str) -> Result<(), String> {
    let (from, path) = (location.path(from).map_err(told)?, location.path(to).map_err(told)?);
    let copied = location.store().copy(&from, &path).await;
    copied.map_err(|source| told(StoreError::of(location.object_uri(to), &source)))?;
    get(location, to, CONTENT).await
}

async fn multipart(location: &Location, key: &str) -> Result<(), String> {
    let failed = |source: object_store::Error| told(StoreError::of(location.object_uri(key), &source));
    let path = location.path(key).map_err(told)?;
    let mut upload = location.store().put_multipart(&path).await.map_err(failed)?;
    for part in [Bytes::from(vec![b'f'; PART_BYTES]), Bytes::from_static(CONTENT)] {
        if let Err(source) = upload.put_part(part.into()).await {
            // What the store keeps of it is told by its own error, if by any.
            let _ = upload.abort().await;
            return Err(failed(source));
        }
    }
    upload.complete().await.map_err(failed)?;
    let size_bytes = location.size_bytes(key).await.map_err(told)?;
    match size_bytes == (PART_BYTES + CONTENT.len()) as u64 {
        true => Ok(()),
        false => Err(format!("{} has {size_bytes} bytes, other than its parts", location.object_uri(key))),
    }
}

async fn list(location: &Location, folder: &str, expected: Option<&str>) -> Result<(), String> {
    let mut objects = location.list(folder).map_err(told)?;
    let mut is_there = expected.is_none();
    while let Some(object) = objects.next().await.transpose().map_err(told)? {
        is_there |= expected == Some(&*object.key);
    }
    match is_there {
        true => Ok(()),
        false => Err(format!("a listing of {} lacks what was written", location.object_uri(folder))),
    }
}

async fn delete(location: &Location, keys: &[&str]) -> Result<(), String> {
    for key in keys {
        let path = location.path(key).map_err(told)?;
        match location.store().delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(told(StoreError::of(location.object_uri(key), &source))),
        }
        missing(location, key).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stores;
    use crate::stores::file_uri;

    #[tokio::test]
    async fn a_place_that_can_do_all_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let location = Stores::new().open(&file_uri(folder.path())).unwrap();
        let answers = probe(&location, "scratch").await;
        assert_eq!(answers.len(), 8);
        assert!(answers.iter().all(|answer| answer.outcome.is_ok()), "{answers:?}");
        assert!(location.list_folder("scratch").await.unwrap().objects.is_empty());
        std::fs::write(folder.path().join("object"), "x").unwrap();
        let reading = probe_reading(&location).await;
        assert_eq!(reading.len(), 3);
        assert!(reading.iter().all(|answer| answer.outcome.is_ok()), "{reading:?}");
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_says_so_and_is_asked_no_more_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let location = Stores::new().open(&file_uri(&file)).unwrap();
        let answers = probe(&location, "scratch").await;
        let put = answers.iter().find(|answer| answer.ask == Ask::Put).unwrap();
        assert!(put.outcome.is_err());
        assert!(answers.iter().all(|answer| answer.ask != Ask::Delete));
    }
}
