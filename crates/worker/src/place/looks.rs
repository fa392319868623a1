//! Many objects of a place at a look.

use super::{Meta, Place, meta_of, meta_of_file, meta_of_stat};
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::retry::with_retries;
use ferry_objects::{Folder, FolderError, Walk, blocking, is_regular};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many local files are looked at in one piece of work.
const HEADS_AT_A_TIME: usize = 128;
/// A folder is listed where so many of the objects below it are asked for.
const LISTED_FROM: usize = 8;
/// What is taken of a listing, a page of it. What lies in a larger folder is asked for key by key.
const LISTED_MAX: usize = 1_000;

/// A folder's objects, where they are known: an empty one may be the mark that tools make for a folder, some listings leave
/// out the quotes, which are part of an entity tag, and times are not as exact as elsewhere.
type Listed = BTreeMap<String, Option<Meta>>;

impl Place {
    /// What each of the objects is, in their order; `None` where there is none. On a disk a run of them is one piece of work,
    /// because handing over to another thread costs more than to look.
    pub(crate) async fn heads(
        &self,
        keys: &[&str],
        permit: &Permit,
        at_once: usize,
    ) -> Result<Vec<Option<Meta>>, Fault> {
        let Some(folder) = &self.folder else {
            let heads: Vec<_> = keys.iter().map(|key| with_retries(permit, || self.head_remote(key))).collect();
            return permit.unless_ended(futures::stream::iter(heads).buffered(at_once).try_collect()).await?;
        };
        let mut runs = Vec::new();
        for run in keys.chunks(HEADS_AT_A_TIME) {
            let run: Arc<[String]> = run.iter().map(|key| (*key).to_owned()).collect();
            runs.push(async move {
                with_retries(permit, || {
                    let (folder, run, side) = (Arc::clone(folder), Arc::clone(&run), self.side);
                    blocking(move || heads_local(&folder, &run, side))
                })
                .await
            });
        }
        let runs: Vec<Vec<Option<Meta>>> = futures::stream::iter(runs).buffered(at_once).try_collect().await?;
        Ok(runs.into_iter().flatten().collect())
    }

    /// The same by fewer requests, where a store lists objects as it gives them: folders of which many are asked for are
    /// listed. What a listing does not tell for certain is asked for by its key, and so is what it lacks, for it may lag or
    /// be cut short; only an empty folder of a target is believed.
    pub(crate) async fn looks(
        &self,
        keys: &[&str],
        permit: &Permit,
        at_once: usize,
    ) -> Result<Vec<Option<Meta>>, Fault> {
        if !self.location.lists_as_it_gives() {
            return self.heads(keys, permit, at_once).await;
        }
        let folders = folders_of(keys);
        let wanted: BTreeSet<&str> = folders.iter().copied().flatten().collect();
        let listings: Vec<_> = wanted.iter().map(|folder| self.listed(folder)).collect();
        let listings = futures::stream::iter(listings).buffered(at_once).collect::<Vec<Option<Listed>>>();
        let listings = permit.unless_ended(listings).await?;
        let listings: BTreeMap<&str, Option<Listed>> = wanted.into_iter().zip(listings).collect();
        let look = |(key, folder): (&&str, &Option<&str>)| {
            let listed = listings.get((*folder)?)?.as_ref()?;
            match listed.get(*key) {
                Some(Some(meta)) => Some(Some(meta.clone())),
                None if self.side == Side::Target && listed.is_empty() => Some(None),
                Some(None) | None => None,
            }
        };
        let looks: Vec<Option<Option<Meta>>> = keys.iter().zip(&folders).map(look).collect();
        let rest = keys.iter().zip(&looks).filter(|(_, look)| look.is_none());
        let rest: Vec<&str> = rest.map(|(key, _)| *key).collect();
        let mut rest = self.heads(&rest, permit, at_once).await?.into_iter();
        Ok(looks.into_iter().map(|look| look.unwrap_or_else(|| rest.next().flatten())).collect())
    }

    /// What lies below a folder, unless that is more than a page, or may not be listed.
    async fn listed(&self, folder: &str) -> Option<Listed> {
        let listing = self.location.list_some(folder, LISTED_MAX);
        let objects = match self.bounded(folder, listing).await {
            Ok(objects) if objects.len() < LISTED_MAX => objects,
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(%error, "a folder cannot be listed; its objects are asked for one by one");
                return None;
            }
        };
        let is_tagged = |meta: &Meta| meta.entity_tag().is_some_and(|tag| tag.starts_with('"'));
        let known = |meta: Meta| (meta.size_bytes > 0 && is_tagged(&meta)).then_some(meta);
        let listed = objects.into_iter().map(|(key, meta)| (key, known(meta_of(&meta))));
        Some(listed.collect())
    }
}

/// The deepest folder above each key that is above many of them.
fn folders_of<'a>(keys: &[&'a str]) -> Vec<Option<&'a str>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for folder in keys.iter().flat_map(|key| folders_above(key)) {
        *counts.entry(folder).or_default() += 1;
    }
    let has_many = |folder: &&str| counts.get(folder).is_some_and(|count| *count >= LISTED_FROM);
    keys.iter().map(|key| folders_above(key).find(has_many)).collect()
}

/// The folders above a key, the nearest first.
fn folders_above(key: &str) -> impl Iterator<Item = &str> {
    key.rmatch_indices('/').map(|(at, _)| &key[..at])
}

fn heads_local(folder: &Folder, keys: &[String], side: Side) -> Result<Vec<Option<Meta>>, Fault> {
    let mut walk = folder.walk();
    keys.iter().map(|key| head_local(&mut walk, key, side)).collect()
}

/// A source is looked at through the links that may be followed; in a target, a link is an object that exists.
pub(super) fn head_local(walk: &mut Walk<'_>, key: &str, side: Side) -> Result<Option<Meta>, Fault> {
    let of_folder = |error: FolderError| Fault::of_folder(&error, side);
    let Some(stat) = walk.stat(key).map_err(of_folder)? else { return Ok(None) };
    if side == Side::Target || is_regular(&stat) {
        return Ok(Some(meta_of_stat(&stat)));
    }
    match walk.open(key) {
        Ok(file) => match meta_of_file(&file) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) => Err(of_folder(walk.io_error(key, &error))),
        },
        Err(FolderError::Missing { .. }) => Ok(None),
        Err(error) => Err(of_folder(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_folder_above_many_keys_is_listed() {
        let fields: Vec<String> = (0..12).map(|at| format!("insert_log/1/2/3/{}/{at}", at % 3)).collect();
        let logs: Vec<String> = (0..8).map(|at| format!("insert_log/1/2/4/0/{at}")).collect();
        let keys: Vec<&str> = fields.iter().chain(&logs).map(String::as_str).chain(["index_files/1", "top"]).collect();
        let folders = folders_of(&keys);
        assert_eq!(folders[..12], [Some("insert_log/1/2/3"); 12]);
        assert_eq!(folders[12..20], [Some("insert_log/1/2/4/0"); 8]);
        assert_eq!(folders[20..], [None, None]);
    }
}
