//! Many objects in a store, looked at by listings of their folders.

use super::inside::way;
use super::part_store::{Behaviour, PartStore};
use super::*;
use crate::copy::Unseen;

const COUNT: u32 = 20;

fn keys() -> Vec<String> {
    (0..COUNT).map(|at| format!("insert_log/1/2/3/{}/{at}", at % 4)).collect()
}

async fn filled(behaviour: Behaviour) -> PartStore {
    let store = PartStore::start(behaviour).await;
    for (at, key) in keys().iter().enumerate() {
        store.put(key, content(at as u64 + 1));
    }
    store
}

/// The sizes of what was found, and by how many heads and listings.
async fn looked(store: &PartStore, place: &Place, copier: &Copier, keys: &[String]) -> (Vec<Option<u64>>, (u32, u32)) {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = place.looks(&keys, &copier.permit, 4).await.unwrap();
    let mut inside = store.inside();
    let asked = (std::mem::take(&mut inside.heads), std::mem::take(&mut inside.listings));
    (found.into_iter().map(|found| found.map(|meta| meta.size_bytes)).collect(), asked)
}

fn sizes() -> Vec<Option<u64>> {
    (1..=u64::from(COUNT)).map(Some).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_listing_takes_the_place_of_many_heads_and_tells_the_same() {
    let store = filled(Behaviour::default()).await;
    let way = way(&store);
    let (copier, _) = way.copier();
    assert_eq!(looked(&store, &copier.source, &copier, &keys()).await, (sizes(), (0, 1)));
    let few = keys()[..4].to_vec();
    assert_eq!(looked(&store, &copier.source, &copier, &few).await, (sizes()[..4].to_vec(), (4, 0)));
    assert_eq!(
        looked(&store, &copier.target, &copier, &keys()).await,
        (vec![None; keys().len()], (0, 1)),
        "nothing is there"
    );
    let listed = copier.source.looks(&[keys()[0].as_str(); 8], &copier.permit, 1).await.unwrap();
    let head = copier.source.head(&keys()[0]).await.unwrap();
    assert_eq!(listed, vec![head; 8], "both are of one version");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listing_does_not_tell_is_asked_for_by_its_key() {
    let store = filled(Behaviour::default()).await;
    store.put(&keys()[5], Bytes::new());
    let way = way(&store);
    let (copier, _) = way.copier();
    let asked = [keys(), vec!["insert_log/1/2/3/0/missing".into()]].concat();
    let mut expected = sizes();
    expected[5] = Some(0);
    expected.push(None);
    let why = "an empty object may be the mark of a folder, and a missing one may only be hidden";
    assert_eq!(looked(&store, &copier.source, &copier, &asked).await, (expected, (2, 1)), "{why}");
    let closed = filled(Behaviour { forbids_listings: true, ..Behaviour::default() }).await;
    let way = super::inside::way(&closed);
    let (copier, _) = way.copier();
    assert_eq!(looked(&closed, &copier.source, &copier, &keys()).await, (sizes(), (COUNT, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_an_attempt_are_looked_at_together_and_what_is_not_whole_is_copied_again() {
    let store = filled(Behaviour::default()).await;
    let way = way(&store);
    let copier = Copier { unseen: Some(Arc::new(Unseen::default())), ..way.copier().0 };
    let sources: Vec<String> = keys();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let metas = copier.source.looks(&sources, &copier.permit, 4).await.unwrap();
    for (key, meta) in sources.iter().zip(metas) {
        let file = FileCopy {
            source_key: (*key).into(),
            target_key: (*key).into(),
            source: meta.unwrap(),
            checksum: None,
            shared: false,
        };
        copier.copy(&file).await.unwrap();
    }
    assert_eq!(store.inside().heads, 0, "none was looked at alone");
    store.put(&format!("to/{}", sources[3]), content(1_000));
    copier.look_at_unseen(4).await.unwrap();
    assert_eq!(store.content(&format!("to/{}", sources[3])), Some(content(4)));
    let seen = store.inside();
    assert_eq!(
        (seen.copies.len(), seen.listings, seen.heads),
        (keys().len() + 1, 3, 2),
        "and the copy that was made again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_another_when_its_copies_are_looked_at_is_named() {
    let store = filled(Behaviour::default()).await;
    let way = way(&store);
    let copier = Copier { unseen: Some(Arc::new(Unseen::default())), ..way.copier().0 };
    let key = &keys()[7];
    let source = copier.source.head(key).await.unwrap().unwrap();
    let file = FileCopy { source_key: key.clone(), target_key: "a".into(), source, checksum: None, shared: false };
    copier.copy(&file).await.unwrap();
    store.put(key, content(999));
    let fault = copier.look_at_unseen(4).await.unwrap_err();
    assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("was written to")), "{fault}");
}
