//! One level of a tree, key by key: the client of stores ends a whole listing at one key that is no plain path, as other tools
//! leave them. Here such keys are passed over.

use http::Method;
use object_store::path::Path;

use super::S3;
use super::answer::{element, elements, required};
use crate::error::{Reason, StoreError};
use crate::location::{Listing, Location, Object};

/// What lies directly below a prefix.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Without the slash at their end.
    pub(crate) folders: Vec<String>,
    /// Keys and sizes.
    pub(crate) objects: Vec<(String, u64)>,
}

impl S3 {
    /// The folders and objects directly below `prefix`, which ends in a slash or is empty. Folder markers are no objects.
    pub(crate) async fn level(&self, prefix: &str) -> object_store::Result<Level> {
        let mut level = Level::default();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![("delimiter", "/"), ("encoding-type", "url"), ("list-type", "2"), ("prefix", prefix)];
            if let Some(token) = &token {
                query.insert(0, ("continuation-token", token));
            }
            let page = self.send(Method::GET, None, &query, &[]).await?.body;
            level.add(&page)?;
            let next = element(&page, "NextContinuationToken");
            let is_last = element(&page, "IsTruncated").as_deref() != Some("true");
            match next {
                Some(next) if !is_last && token.as_ref() != Some(&next) => token = Some(next),
                _ => return Ok(level),
            }
        }
    }
}

impl Location {
    /// The folders and objects directly below `prefix`, whose listing ended with `error`: at one key that is no plain path,
    /// where the store can be asked for the others.
    pub(crate) async fn list_folder_by_key(
        &self,
        prefix: &str,
        path: &Path,
        error: StoreError,
    ) -> Result<Listing, StoreError> {
        let (Some(s3), Some(Reason::BadKey)) = (self.s3(), error.reason()) else { return Err(error) };
        let below = if path.as_ref().is_empty() { String::new() } else { format!("{path}/") };
        let level = s3.level(&below).await.map_err(|source| self.failed(prefix, &source))?;
        let mut folders: Vec<String> = level.folders.iter().map(|folder| self.relative(folder)).collect();
        let object = |(key, size_bytes): &(String, u64)| Object { key: self.relative(key), size_bytes: *size_bytes };
        let mut objects: Vec<Object> = level.objects.iter().map(object).collect();
        folders.sort();
        objects.sort();
        Ok(Listing { folders, objects })
    }
}

impl Level {
    fn add(&mut self, page: &str) -> object_store::Result<()> {
        let is_encoded = element(page, "EncodingType").as_deref() == Some("url");
        let as_it_is = |key: String| if is_encoded { decoded(&key) } else { key };
        for folder in elements(page, "CommonPrefixes") {
            let key = as_it_is(required(folder, "Prefix")?);
            let key = key.strip_suffix('/').unwrap_or(&key);
            if is_plain(key) {
                self.folders.push(key.to_owned());
            }
        }
        for object in elements(page, "Contents") {
            let key = as_it_is(required(object, "Key")?);
            let size = required(object, "Size")?.parse().map_err(super::generic)?;
            if is_plain(&key) {
                self.objects.push((key, size));
            }
        }
        Ok(())
    }
}

/// Whether it is a path as the client has them; not so a folder marker, which ends in a slash.
fn is_plain(key: &str) -> bool {
    Path::parse(key).is_ok_and(|path| path.as_ref() == key)
}

/// A key as it is: it comes encoded where the store heeds that wish, since XML cannot hold every character that a key can.
fn decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_plain_paths_are_passed_over() {
        let page = "<ListBucketResult><EncodingType>url</EncodingType>\
                    <Contents><Key>a/b%2Bc+d</Key><Size>7</Size></Contents>\
                    <Contents><Key>a/%01</Key><Size>1</Size></Contents>\
                    <Contents><Key>a/</Key><Size>0</Size></Contents>\
                    <CommonPrefixes><Prefix>a//</Prefix></CommonPrefixes>\
                    <CommonPrefixes><Prefix>a/metadata/</Prefix></CommonPrefixes></ListBucketResult>";
        let mut level = Level::default();
        level.add(page).unwrap();
        assert_eq!(level.folders, ["a/metadata"]);
        assert_eq!(level.objects, [("a/b+c d".to_owned(), 7)]);
        let mut plain = Level::default();
        plain
            .add("<ListBucketResult><Contents><Key>a/b+c%2B</Key><Size>7</Size></Contents></ListBucketResult>")
            .unwrap();
        assert_eq!(plain.objects, [("a/b+c%2B".to_owned(), 7)], "not every store encodes");
    }
}
