//! The vote and the node's identity survive, whole, or the node is refused.

use crate::open;
use ferry_store::node::NodeError;
use ferry_store::{OpenError, Options, Store};
use std::collections::BTreeMap;

#[test]
fn a_vote_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { vote, .. } = open(folder.path()).expect("a new store");
        assert_eq!(vote.load().expect("readable"), None);
        vote.save(b"term 1").expect("saved");
        vote.save(b"term 2, for node 3").expect("saved");
    }
    let Store { vote, .. } = open(folder.path()).expect("the same store");
    assert_eq!(vote.load().expect("readable"), Some(b"term 2, for node 3".to_vec()));
}

#[test]
fn a_damaged_vote_is_refused_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).expect("a new store").vote.save(b"term 1").expect("saved");
    let path = folder.path().join("vote");
    for damaged in [b"abc".to_vec(), [std::fs::read(&path).expect("a vote"), vec![0]].concat()] {
        std::fs::write(&path, damaged).expect("written");
        let error = open(folder.path()).err().expect("it must be refused");
        assert!(matches!(error, OpenError::Vote(_)), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn the_cluster_id_is_learned_once() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let store = open(folder.path()).expect("a new store");
        assert_eq!((store.identity().cluster_id, store.identity().node_id), (0, 1));
        store.node.set_cluster_id(77).expect("written");
        store.node.set_cluster_id(77).expect("the same again");
        let error = store.node.set_cluster_id(78).expect_err("another cluster");
        assert!(matches!(error, NodeError::OtherCluster { known: 77, offered: 78, .. }), "{error}");
    }
    let identity = open(folder.path()).expect("the same store").identity();
    assert_eq!((identity.cluster_id, identity.node_id), (77, 1));
}

#[test]
fn a_folder_keeps_its_id_and_no_other_has_it() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let identity = open(folder.path()).expect("a new store").identity();
    assert_eq!(open(folder.path()).expect("the same store").identity(), identity);
    let emptied = open(other.path()).expect("another store of the same node").identity();
    assert_eq!(emptied.node_id, identity.node_id);
    assert_ne!(emptied.folder_id, identity.folder_id);
}

#[test]
fn the_folder_that_a_node_was_met_with_is_written_down_once_and_for_all() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let store = open(folder.path()).expect("a new store");
        store.node.meet(2, 22).expect("written");
        store.node.set_cluster_id(77).expect("written");
        store.node.meet(3, u64::MAX).expect("written");
        store.node.meet(2, 22).expect("the same again");
    }
    let store = open(folder.path()).expect("the same store");
    assert_eq!(store.node.peers(), BTreeMap::from([(2, 22), (3, u64::MAX)]));
    assert_eq!(store.identity().cluster_id, 77);
    let error = store.node.meet(2, 23).expect_err("another folder");
    assert!(matches!(error, NodeError::OtherFolder { node_id: 2 }), "{error}");
    for words in ["ferry cluster remove-node --id 2", "under a new id (`ferry cluster add-node`)"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(store.node.peers()[&2], 22);
}

#[test]
fn the_folder_of_another_node_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).expect("a new store");
    let error = Store::open(folder.path(), 2, &Options::default()).err().expect("it must be refused");
    assert!(matches!(error, OpenError::OtherNode { found: 1, expected: 2, .. }), "{error}");
    assert!(error.to_string().contains("start node 1 on it, or give node 2 an empty folder"), "{error}");
}

#[test]
fn a_folder_of_another_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.json");
    let future = r#"{"format_version": 9, "node_id": 1, "cluster_id": 5, "something": "new"}"#;
    std::fs::write(&path, future).expect("written");
    let error = open(folder.path()).err().expect("it must be refused");
    assert!(matches!(error, OpenError::Node(NodeError::UnknownVersion { found: 9, .. })), "{error}");
    std::fs::write(&path, "{").expect("written");
    let error = open(folder.path()).err().expect("it must be refused");
    assert!(matches!(error, OpenError::Node(NodeError::Unreadable { .. })), "{error}");
    assert!(error.to_string().contains("node.json"), "{error}");
}
