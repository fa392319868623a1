//! How often a snapshot is read and parsed, and which ones are kept.

use futures::future::join_all;
use serde_json::json;

use super::*;

async fn write(stores: &Stores, id: i64, name: &str) -> String {
    let metadata = json!({
        "snapshot_info": {"id": id, "collection_id": 1, "name": name},
        "collection": {},
        "manifest_list": [format!("snapshots/1/manifests/{id}/3.avro")],
    });
    let location = stores.open("memory:///").unwrap();
    location.write(&format!("snapshots/1/metadata/{id}.json"), metadata.to_string().into()).await.unwrap();
    format!("memory:///snapshots/1/metadata/{id}.json")
}

#[tokio::test]
async fn all_who_ask_at_once_get_the_one_that_was_opened() {
    let snapshots = Snapshots::new(Stores::new(), 1 << 20);
    let uri = write(snapshots.stores(), 7, "a").await;
    let pin = snapshots.open(&uri).await.unwrap().pin();
    let again = Snapshots { opened: Arc::default(), ..snapshots.clone() };
    let opened = join_all((0..20).map(|_| again.open_pinned(&uri, pin))).await;
    let first = opened[0].as_ref().unwrap();
    assert!(opened.iter().all(|one| Arc::ptr_eq(one.as_ref().unwrap(), first)));
}

#[tokio::test]
async fn one_that_is_open_stays_what_it_was_when_its_file_changes_or_goes() {
    let snapshots = Snapshots::new(Stores::new(), 1 << 20);
    let uri = write(snapshots.stores(), 7, "a").await;
    let first = snapshots.open(&uri).await.unwrap();
    assert!(Arc::ptr_eq(&first, &snapshots.open(&uri).await.unwrap()), "the same content is not parsed again");
    write(snapshots.stores(), 7, "b").await;
    let second = snapshots.open(&uri).await.unwrap();
    assert_eq!(
        (first.metadata().snapshot_info.name.as_str(), second.metadata().snapshot_info.name.as_str()),
        ("a", "b")
    );
    let pinned = snapshots.open_pinned(&uri, first.pin()).await.unwrap();
    assert!(Arc::ptr_eq(&pinned, &first));
}

#[tokio::test]
async fn one_that_cannot_be_opened_is_tried_again_by_the_next() {
    let snapshots = Snapshots::new(Stores::new(), 1 << 20);
    let uri = write(snapshots.stores(), 7, "a").await;
    let pin = snapshots.open(&uri).await.unwrap().pin();
    let cold = Snapshots { opened: Arc::default(), ..snapshots.clone() };
    write(cold.stores(), 7, "changed").await;
    assert!(matches!(cold.open_pinned(&uri, pin).await, Err(OpenError::Altered(_))));
    write(cold.stores(), 7, "a").await;
    assert!(cold.open_pinned(&uri, pin).await.is_ok());
}

#[tokio::test]
async fn the_least_recently_used_are_forgotten_when_there_is_no_room() {
    let stores = Stores::new();
    let uris = [write(&stores, 1, "a").await, write(&stores, 2, "b").await, write(&stores, 3, "c").await];
    let size_bytes = Snapshot::open(&stores, &uris[0]).await.unwrap().memory_bytes();
    let snapshots = Snapshots::new(stores, 2 * size_bytes);
    let (one, two) = (snapshots.open(&uris[0]).await.unwrap(), snapshots.open(&uris[1]).await.unwrap());
    assert!(Arc::ptr_eq(&one, &snapshots.open(&uris[0]).await.unwrap()));
    snapshots.open(&uris[2]).await.unwrap();
    assert!(Arc::ptr_eq(&one, &snapshots.open(&uris[0]).await.unwrap()), "it was used after the other");
    assert!(!Arc::ptr_eq(&two, &snapshots.open(&uris[1]).await.unwrap()), "it was forgotten");
    let tiny = Snapshots { bytes_max: 1, opened: Arc::default(), ..snapshots };
    let kept = tiny.open(&uris[0]).await.unwrap();
    assert!(Arc::ptr_eq(&kept, &tiny.open(&uris[0]).await.unwrap()), "the last one stays, however large");
}
