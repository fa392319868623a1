//! Durable writes: reports of tasks and single commands in Ferry beside puts in etcd, with the same numbers of clients.

use crate::cluster::Cluster;
use crate::etcd::{self, Etcd, Kv, Peer};
use crate::jobs;
use crate::load::{CONNECTIONS, Load, drive};
use crate::probes::{self, VALUE_BYTES};
use crate::report::{Report, fine_milliseconds};
use crate::reports::{self, Timed};
use crate::{Common, positive};
use clap::Args;
use ferry_client::Client;
use ferry_proto::v1::UpdateJobRequest;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NODES: u64 = 3;
/// Priorities that an update changes a job between.
const PRIORITIES: [i32; 2] = [40, 60];
const REPORTS: &str = "Ferry, task reports";
const TASKS: &str = "Ferry, tasks leased, claimed and reported";
const UPDATES: &str = "Ferry, updates of a job";
const PUTS: &str = "etcd, puts of 256 B";

/// How many durable writes are acknowledged in a second, and how long one takes, beside etcd.
#[derive(Debug, Args)]
pub(crate) struct Write {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    peer: Peer,
    /// How often each is measured in turn.
    #[arg(long, default_value_t = 3, value_parser = positive)]
    rounds: usize,
    /// How long single commands and puts are made in each round.
    #[arg(long, default_value = "3s")]
    length: humantime::Duration,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_parser = positive)]
    clients: Vec<usize>,
}

impl Write {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let cluster = Cluster::start(NODES, &self.common.binary, &self.common.settings, folder).await?;
        let etcd = Etcd::start(&self.peer, folder).await?;
        let (leader, _) = cluster.leader().await?;
        let leader_clients = cluster.clients_of(&[leader], CONNECTIONS)?;
        let puts = etcd.clients_of_leader()?;
        let job = jobs::submit(&jobs::make_snapshot(folder, 1)?, 1);
        let most = self.clients.iter().copied().max().unwrap_or_default();
        let paused = Arc::new(jobs::paused(&cluster.client()?, &job, most).await?);
        let mut report = Report::new("write", "Durable writes beside etcd", &self.common.settings());
        for round in 1..=self.rounds {
            for clients in self.clients.iter().copied() {
                let reported = reports::drive(Timed::Reports, clients, &leader_clients, folder).await?;
                note(&mut report, REPORTS, clients, &reported);
                let whole = reports::drive(Timed::Tasks, clients, &leader_clients, folder).await?;
                note(&mut report, TASKS, clients, &whole);
                let updated = update(clients, *self.length, &leader_clients, &paused).await?;
                note(&mut report, UPDATES, clients, &updated);
                let put = put(clients, *self.length, &puts).await?;
                note(&mut report, PUTS, clients, &put);
                eprintln!(
                    "write: round {round} of {}, {clients} clients: {:.0} reports, {:.0} tasks, {:.0} updates, {:.0} \
                     puts a second",
                    self.rounds, reported.per_second, whole.per_second, updated.per_second, put.per_second
                );
            }
            probe(&mut report, folder).await?;
        }
        self.compare(&mut report, etcd.version());
        report.publish(self.common.document())
    }

    fn compare(&self, report: &mut Report, version: &str) {
        for clients in &self.clients {
            for ours in [REPORTS, TASKS, UPDATES] {
                let goal = if *clients == 256 && ours == REPORTS { "5 or more (P2)" } else { "" };
                let name = format!("{} to puts, a second, {clients} clients", ours.trim_start_matches("Ferry, "));
                report.add_ratio(&name, &per_second(ours, *clients), &per_second(PUTS, *clients), goal);
            }
        }
        if self.clients.contains(&1) {
            for ours in [REPORTS, UPDATES] {
                let what = ours.trim_start_matches("Ferry, ");
                let (own, etcd) = (p50(ours, 1), p50(PUTS, 1));
                report.add_ratio(&format!("{what} to puts, p50, 1 client"), &own, &etcd, "below 1 (P3)");
                let name = format!("{what} to sync and round trip, p50, 1 client");
                report.add_ratio(&name, &own, BOUND, "at most 2 (P3)");
            }
        }
        report.note(&format!(
            "Peer: three nodes of etcd {version} with its defaults, on the same machine and disk, asked at its leader. A task \
             report is a worker's `Result`, from when it was sent to its `Acknowledged`; a client has one report on \
             its way. Reports are timed alone, for tasks that were leased and claimed before, and as part of whole tasks, where \
             each comes after the lease and the claim of its task, so that three commands are committed for it and a client is \
             a slot of a worker. An update of a job is the unary call `UpdateJob` with a new priority, each client on a job of \
             its own: the cheapest durable call that clients make. The clients of each kind share {CONNECTIONS} connections at most."
        ));
    }
}

/// The figure that no durable write goes below.
const BOUND: &str = "fdatasync and round trip, p50, ms";

async fn probe(report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    let (synced, called) = (probes::syncs(folder)?.percentile(50), probes::round_trips().await?.percentile(50));
    report.add("fdatasync of a 4 kB append, p50, ms", fine_milliseconds(synced));
    report.add("gRPC round trip of 256 B on the loopback, p50, ms", fine_milliseconds(called));
    report.add(BOUND, fine_milliseconds(synced + called));
    Ok(())
}

fn per_second(what: &str, clients: usize) -> String {
    format!("{what}: a second, {clients} clients")
}

fn p50(what: &str, clients: usize) -> String {
    format!("{what}: p50, ms, {clients} clients")
}

fn note(report: &mut Report, what: &str, clients: usize, load: &Load) {
    report.add(&per_second(what, clients), load.per_second.round());
    report.add(&p50(what, clients), fine_milliseconds(load.latencies.percentile(50)));
}

/// Each client changes the priority of its job, again and again.
async fn update(clients: usize, length: Duration, leader: &[Client], jobs: &Arc<Vec<i64>>) -> anyhow::Result<Load> {
    drive(clients, length, |number| {
        let (client, job_id) = (leader[number % leader.len()].clone(), jobs[number]);
        let mut priorities = PRIORITIES.into_iter().cycle();
        move || {
            let (client, priority) = (client.clone(), priorities.next());
            async move {
                client.update_job(UpdateJobRequest { job_id, priority, ..UpdateJobRequest::default() }).await?;
                Ok(())
            }
        }
    })
    .await
}

/// Each client writes one new key after the other.
async fn put(clients: usize, length: Duration, leader: &[Kv]) -> anyhow::Result<Load> {
    drive(clients, length, |number| {
        let (kv, mut sequence) = (leader[number % leader.len()].clone(), 0_u64);
        move || {
            sequence += 1;
            etcd::put(kv.clone(), format!("bench/put/{number:03}/{sequence:012}"), vec![1; VALUE_BYTES])
        }
    })
    .await
}
