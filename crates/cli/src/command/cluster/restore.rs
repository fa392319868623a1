//! `ferry cluster restore`: the folder of a node of a new cluster, made from a backup; needs no cluster that runs.

use crate::arguments;
use crate::exit::Failure;
use crate::output::note;
use clap::Args;
use ferry_server::Restoring;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Make the folder of a node of a new cluster from a backup. Every founder is restored from the same file with the same
/// --peers, --id-margin and --token: all come to the same new cluster id, and refuse nodes of the old cluster.
///
/// Jobs go on where the backup has them. What a worker was running then counts as lost: its tasks are leased anew, with
/// later attempt numbers, and results of the old cluster do not count. Cluster time goes on from the backup, so the time
/// in between makes no job time out. Request ids that were known still are; a submit after the backup is unknown, and
/// what it copied is in the way of a copy to the same target. Stop the old cluster and its workers first.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The folder of the new node; empty, or not there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The new node's id.
    #[arg(long, value_name = "ID")]
    id: u64,
    /// All founders of the new cluster, this node among them.
    #[arg(long, value_name = "ID=HOST:PORT,...", value_delimiter = ',', required = true, value_parser = arguments::label)]
    peers: Vec<(String, String)>,
    /// Ids that are left out, because the old cluster may have given them out after the backup. The default, 2^40, is
    /// more than a cluster gives out in 12 days at a million a second, and leaves room for thousands of restores below
    /// 2^53, up to which JSON is exact.
    #[arg(long, value_name = "COUNT", default_value_t = 1 << 40, value_parser = clap::value_parser!(i64).range(0..))]
    id_margin: i64,
    /// Tells apart clusters that are restored from one backup with the same peers.
    #[arg(long, value_name = "TEXT", default_value = "")]
    token: String,
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let peers = self.founders()?;
        let restored = ferry_server::restore(&Restoring {
            input: &self.file,
            folder: &self.data_dir,
            node_id: self.id,
            peers: &peers,
            id_margin: self.id_margin,
            token: &self.token,
        })?;
        let address = &peers[&self.id];
        note(&format!(
            "{} is node {} of the new cluster {} (before: {}), from revision {} and id {} on.\nRestore the other \
             founders with the same --file, --peers, --id-margin and --token, then start each: ferry server --id {} \
             --data-dir {} --listen {address}",
            self.data_dir.display(),
            self.id,
            restored.cluster_id,
            restored.former_cluster_id,
            restored.revision,
            restored.next_id,
            self.id,
            self.data_dir.display(),
        ));
        Ok(())
    }

    fn founders(&self) -> Result<BTreeMap<u64, String>, Failure> {
        let mut founders = BTreeMap::new();
        for (id, address) in &self.peers {
            let wrong = |_| Failure::Usage(format!("--peers names {id:?}, which is no node id: write id=host:port"));
            if founders.insert(id.parse().map_err(wrong)?, address.clone()).is_some() {
                return Err(Failure::Usage(format!("--peers names node {id} twice")));
            }
        }
        Ok(founders)
    }
}
