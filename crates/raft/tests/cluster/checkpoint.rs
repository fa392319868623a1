//! A node that lags behind the log of its leader gets the rows as a checkpoint, whole or not at all.

use crate::proxy::Proxy;
use crate::support::{Cluster, deadline, until};
use ferry_machine::command::Command;
use ferry_machine::id::WorkerId;
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::Read;
use ferry_raft::Raft;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Enough for a checkpoint of several chunks.
const WORKERS: usize = 120;
/// Large workers of which this many are more than `LARGE_ENTRIES_BYTES`, and one fewer are not.
const LARGE_ENTRIES: usize = 4;
const LARGE_ENTRIES_BYTES: u64 = 112 * 1024;
/// Where the first transfer breaks: in the middle.
const CUT_BYTES: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_gets_a_checkpoint_and_a_broken_transfer_is_begun_again() {
    let mut cluster = Cluster::planned(3, |config| {
        config.checkpoint_every_entries = 30;
        config.log_keep_entries = 10;
    });
    let proxy = Proxy::start(cluster.listeners[&3].clone(), CUT_BYTES).await;
    cluster.addresses.insert(3, proxy.address.clone());
    for id in 1..=3 {
        cluster.start(id).await;
    }
    let (leader, _) = cluster.leader().await;
    if leader == 3 {
        cluster.raft(3).transfer_leader(1, deadline()).await.unwrap();
    }
    let joined = cluster.propose(Command::Tick).await;
    cluster.all_applied(joined.index).await;
    let lagging_from = cluster.raft(3).applied_index();
    cluster.kill(3);
    let mut last = joined.index;
    for worker in 0..WORKERS {
        last = cluster.propose(large_worker(worker)).await.index;
    }
    let (leader, _) = cluster.leader().await;
    until("the leader's log no longer reaches back to the node", || {
        let purged = cluster.raft(leader).status().purged_index;
        std::future::ready(purged.filter(|purged| *purged > lagging_from))
    })
    .await;
    cluster.start(3).await;
    cluster.all_applied(last).await;
    assert_eq!(proxy.cuts(), 1, "the first transfer was to be broken");
    until("the status tells of the checkpoint", || {
        let checkpoint = cluster.raft(3).status().checkpoint_index;
        std::future::ready(checkpoint.filter(|checkpoint| *checkpoint > lagging_from))
    })
    .await;
    let expected = workers(cluster.raft(leader));
    assert_eq!(expected.len(), WORKERS);
    assert!(workers(cluster.raft(3)) == expected, "the rows differ");
    cluster.kill(3);
    cluster.start(3).await;
    assert!(workers(cluster.raft(3)) == expected, "the rows differ after a restart");
    let more = cluster.propose(Command::Tick).await;
    cluster.all_applied(more.index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_entries_cause_a_checkpoint_though_they_are_few_also_after_a_restart() {
    let mut cluster = Cluster::planned(1, |config| config.checkpoint_every_bytes = LARGE_ENTRIES_BYTES);
    cluster.start(1).await;
    for _ in 0..30 {
        cluster.propose(Command::Tick).await;
    }
    assert_eq!(cluster.raft(1).status().checkpoint_index, None, "small entries are far from any bound");
    let mut covered = None;
    for round in 0..3 {
        // Short of the bound by one: what a restart has to apply again counts as well.
        let few = round * 10..round * 10 + LARGE_ENTRIES - 1;
        for worker in few {
            cluster.propose(large_worker(worker)).await;
        }
        assert_eq!(cluster.raft(1).status().checkpoint_index, covered, "the bound is not reached yet");
        cluster.kill(1);
        cluster.start(1).await;
        let applied = cluster.propose(Command::Tick).await.index;
        cluster.propose(large_worker(round * 10 + LARGE_ENTRIES)).await;
        covered = until("a checkpoint is made", || {
            let newest = cluster.raft(1).status().checkpoint_index;
            std::future::ready(newest.filter(|newest| *newest > applied))
        })
        .await
        .into();
    }
}

fn large_worker(number: usize) -> Command {
    let labels: BTreeMap<String, String> = (0..64).map(|label| (noise(number * 64 + label), noise(label))).collect();
    let (name, writes_for_ms, late_writes_ms) = (format!("worker-{number}"), 1_000, 0);
    Command::RegisterWorker {
        name,
        incarnation: 1,
        slots: 1,
        labels,
        writes_for_ms,
        late_writes_ms,
        settled: BTreeMap::new(),
    }
}

/// Text that does not compress and is the same each time.
fn noise(seed: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut text = String::new();
    while text.len() < 250 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(250);
    text
}

fn workers(raft: &Raft) -> Vec<(Key, Row)> {
    let from = Bound::Included(Key::Worker(WorkerId(i64::MIN)));
    raft.view().scan(from, &Key::Worker(WorkerId(i64::MAX)), WORKERS + 1)
}
