//! Durable reports of tasks, one at a time for each client: alone, for tasks that are leased and claimed before, and as the
//! last of the three commands that each task takes.

use crate::jobs;
use crate::load::{CONNECTIONS, Load};
use crate::worker::{Seen, Worker};
use anyhow::ensure;
use ferry_client::Client;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Reports of one round: so many for each client, within these bounds.
const REPORTS_PER_CLIENT: usize = 200;
const REPORTS_MIN: usize = 500;
const REPORTS_MAX: usize = 8_000;
const POLL: Duration = Duration::from_millis(5);

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timed {
    /// Reports alone: all tasks are leased and claimed before the first.
    Reports,
    /// Whole tasks: a slot gets its next one when the last one is reported, and claims it.
    Tasks,
}

/// Lets `clients` report tasks, from the first acknowledgement to the last: in the end fewer are on their way. Workers have
/// a connection of their own each to the leader, which `clients_of_leader` must ask.
pub(crate) async fn drive(
    timed: Timed,
    clients: usize,
    clients_of_leader: &[Client],
    folder: &Path,
) -> anyhow::Result<Load> {
    let sessions = clients.min(CONNECTIONS);
    let reports = reports(clients);
    let source = jobs::make_snapshot(folder, reports)?;
    let mut workers = Vec::new();
    let mut paces = Vec::new();
    for (index, client) in clients_of_leader.iter().take(sessions).enumerate() {
        let at_once = share(clients, sessions, index);
        let (slots, at_first) = match timed {
            Timed::Reports => (share(reports, sessions, index), 0),
            Timed::Tasks => (at_once, at_once),
        };
        let (pace, at_once) = watch::channel(at_first);
        workers.push(Worker::start(client, &format!("reporter-{index}"), u32::try_from(slots)?, at_once).await?);
        paces.push(pace);
    }
    let job = jobs::submitted(&clients_of_leader[0], jobs::submit(&source, 1)).await?;
    if timed == Timed::Reports {
        wait_for(reports, "claimed", &workers, |seen| seen.claimed).await?;
        for (index, pace) in paces.iter().enumerate() {
            pace.send_replace(share(clients, sessions, index));
        }
    }
    wait_for(reports, "reported", &workers, |seen| seen.latencies.len()).await?;
    let (mut latencies, mut acknowledged): (Vec<Duration>, Vec<Instant>) = (Vec::new(), Vec::new());
    for worker in &workers {
        let seen = worker.seen()?;
        latencies.extend_from_slice(&seen.latencies);
        acknowledged.extend(seen.acknowledged_at.into_iter().flat_map(|(first, last)| [first, last]));
    }
    jobs::completed(&clients_of_leader[0], job).await?;
    let (first, last) = (acknowledged.iter().min(), acknowledged.iter().max());
    Ok(Load::new(latencies, first.zip(last).map(|(first, last)| *last - *first).unwrap_or_default()))
}

/// How many tasks are reported by so many clients.
fn reports(clients: usize) -> usize {
    (clients * REPORTS_PER_CLIENT).clamp(REPORTS_MIN, REPORTS_MAX)
}

/// What the one with this number gets of a total that is shared evenly.
fn share(total: usize, among: usize, index: usize) -> usize {
    total / among + usize::from(index < total % among)
}

async fn wait_for(wanted: usize, what: &str, workers: &[Worker], count: impl Fn(&Seen) -> usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mut done = 0;
        for worker in workers {
            done += count(&*worker.seen()?);
        }
        if done >= wanted {
            return Ok(());
        }
        ensure!(began.elapsed() < jobs::PATIENCE, "{done} of {wanted} tasks are {what} after {:?}", jobs::PATIENCE);
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_every_client_has_something_to_report() {
        for clients in [1, 3, 16, 64, 100, 256] {
            let sessions = clients.min(CONNECTIONS);
            let shares: Vec<usize> = (0..sessions).map(|index| share(clients, sessions, index)).collect();
            assert_eq!(shares.iter().sum::<usize>(), clients);
            assert!(reports(clients) >= 10 * clients && reports(clients) <= REPORTS_MAX);
        }
    }
}
