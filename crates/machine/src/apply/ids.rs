//! The cluster's own row: made once, and the one sequence of ids, which only grows.

use super::keep::{self, Desk};
use super::validate::invalid;
use crate::command::Command;
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::row::Cluster;
use crate::tables::Tables;
use crate::time::Stamp;

/// A command before the cluster has its row: only the bootstrap can succeed.
pub(super) fn first_command(tables: &mut dyn Tables, command: &Command, now: Stamp) -> Result<Outcome, Rejection> {
    let Command::Bootstrap { cluster_id, id_start } = command else { return Err(Rejection::NotBootstrapped) };
    if *id_start < 1 {
        return Err(invalid("id_start", "must be 1 or more: smaller ids are never given out"));
    }
    let cluster =
        Cluster { cluster_id: *cluster_id, id_start: *id_start, next_id: *id_start, now: now.at, ..Cluster::default() };
    keep::put_clock(tables, cluster);
    Ok(Outcome::Bootstrapped { cluster_id: *cluster_id })
}

/// Gives a window of ids away for ever.
pub(super) fn reserve(desk: &mut Desk<'_>, count: u32) -> Result<Outcome, Rejection> {
    if count == 0 || count > limits::IDS_PER_ALLOCATION_MAX {
        let reason = format!("must be 1 to {}: allocate several times for more", limits::IDS_PER_ALLOCATION_MAX);
        return Err(invalid("count", reason));
    }
    let first = desk.take_ids(u64::from(count))?;
    Ok(Outcome::Ids { first, count })
}
