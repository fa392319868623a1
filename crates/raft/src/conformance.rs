//! openraft's own conformance suite on the real store: what it expects of a log and a state machine holds here.

use crate::log::LogStore;
use crate::state::{Progress, StateMachine};
use crate::types::Types;
use ferry_store::{Options, Store};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

struct OnDisk;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path(), 1, &Options::default()).expect("an empty folder is opened");
        let log = LogStore::new(store.log, store.vote);
        let state = StateMachine::new(store.rows, store.checkpoints, Progress::new()).expect("empty rows can be read");
        Ok((folder, log, state))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_conformance_suite_of_openraft() {
    Suite::test_all(OnDisk).await.unwrap();
}
