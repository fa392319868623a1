//! Status reads on followers: one job a call, stale and linearizable, and many ids in one call, beside ranges in etcd.

use crate::cluster::Cluster;
use crate::etcd::{self, Etcd, Kv, OPERATIONS_MAX, Peer, api};
use crate::load::{CONNECTIONS, Load, drive};
use crate::report::Report;
use crate::{Common, positive};
use crate::{jobs, probes::VALUE_BYTES};
use anyhow::ensure;
use clap::Args;
use ferry_client::Client;
use ferry_proto::v1::{Consistency, GetJobRequest, GetJobsRequest, GetTasksRequest, ListTasksRequest};
use std::sync::Arc;
use std::time::Duration;

const NODES: u64 = 3;
/// Jobs that are read, and the tasks of each.
const JOBS: usize = 100;
const TASKS_PER_JOB: usize = 10;
/// Keys that are read of etcd.
const KEYS: usize = JOBS * TASKS_PER_JOB;

/// How many status reads followers answer in a second, beside etcd.
#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    peer: Peer,
    /// How often each is measured in turn.
    #[arg(long, default_value_t = 3, value_parser = positive)]
    rounds: usize,
    /// How long each is measured in each round.
    #[arg(long, default_value = "3s")]
    length: humantime::Duration,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "64,256", value_parser = positive)]
    clients: Vec<usize>,
}

/// What is read, from whom.
struct Stage {
    followers: Vec<Client>,
    jobs: Arc<Vec<i64>>,
    tasks: Arc<Vec<i64>>,
    peers: Vec<Kv>,
}

/// One kind of reading.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Job,
    Jobs,
    Tasks,
    Key,
    Keys,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Job, Self::Key, Self::Jobs, Self::Tasks, Self::Keys];

    fn name(self) -> &'static str {
        match self {
            Self::Job => "Ferry, one job a call",
            Self::Jobs => "Ferry, jobs by 100 a call",
            Self::Tasks => "Ferry, tasks by 1,000 a call",
            Self::Key => "etcd, one key a call",
            Self::Keys => "etcd, keys by 128 a transaction",
        }
    }

    /// How many ids one call reads.
    fn ids(self) -> usize {
        match self {
            Self::Job | Self::Key => 1,
            Self::Jobs => JOBS,
            Self::Tasks => JOBS * TASKS_PER_JOB,
            Self::Keys => OPERATIONS_MAX,
        }
    }

    fn figure(self, consistency: Consistency, clients: usize) -> String {
        let ids = if self.ids() == 1 { "calls" } else { "ids" };
        format!("{}, {}: {ids} a second, {clients} clients", self.name(), word(consistency))
    }
}

/// What both call it; etcd's word for stale is serializable.
fn word(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Stale => "stale",
        Consistency::Linearizable | Consistency::Unspecified => "linearizable",
    }
}

impl Read {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let cluster = Cluster::start(NODES, &self.common.binary, &self.common.settings, folder).await?;
        let etcd = Etcd::start(&self.peer, folder).await?;
        let submit = jobs::submit(&jobs::make_snapshot(folder, TASKS_PER_JOB)?, 1);
        let jobs = jobs::paused(&cluster.client()?, &submit, JOBS).await?;
        let stage = Stage {
            followers: cluster.clients_of(&cluster.followers().await?, CONNECTIONS)?,
            tasks: Arc::new(tasks_of(&cluster.client()?, &jobs).await?),
            jobs: Arc::new(jobs),
            peers: etcd.clients_of_followers()?,
        };
        for key in 0..KEYS {
            etcd::put(stage.peers[0].clone(), key_of(key), vec![1; VALUE_BYTES]).await?;
        }
        let mut report = Report::new("read", "Status reads on followers beside etcd", &self.common.settings());
        for round in 1..=self.rounds {
            for clients in self.clients.iter().copied() {
                for consistency in [Consistency::Stale, Consistency::Linearizable] {
                    for kind in Kind::ALL {
                        let load = stage.measure(kind, consistency, clients, *self.length).await?;
                        let per_second = load.per_second * kind.ids() as f64;
                        let figure = kind.figure(consistency, clients);
                        report.add(&figure, per_second.round());
                        eprintln!("read: round {round} of {}: {figure}: {per_second:.0}", self.rounds);
                    }
                }
            }
        }
        self.compare(&mut report, etcd.version());
        report.publish(self.common.document())
    }

    fn compare(&self, report: &mut Report, version: &str) {
        for clients in self.clients.iter().copied() {
            for consistency in [Consistency::Stale, Consistency::Linearizable] {
                let word = word(consistency);
                let key = Kind::Key.figure(consistency, clients);
                let mut add = |kind: Kind, to: &str, name: &str, goal: &str| {
                    let name = format!("{name}, {word}, {clients} clients");
                    report.add_ratio(&name, &kind.figure(consistency, clients), to, goal);
                };
                add(Kind::Job, &key, "one job to one key", "1.5 or more (P4)");
                add(Kind::Jobs, &key, "an id of 100 jobs to one key", "10 or more (P4)");
                add(Kind::Tasks, &key, "an id of 1,000 tasks to one key", "10 or more (P4)");
                let keys = Kind::Keys.figure(consistency, clients);
                add(Kind::Tasks, &keys, "an id of 1,000 tasks to one of 128 keys", "");
            }
        }
        report.note(&format!(
            "Peer: three nodes of etcd {version} with its defaults, on the same machine and disk; {KEYS} keys with values of \
             {VALUE_BYTES} B. Ferry holds {JOBS} jobs of {TASKS_PER_JOB} tasks and answers with whole jobs and tasks. Both \
             are asked at their two followers in turn, over {CONNECTIONS} connections. Stale is what etcd calls \
             serializable. A batch is `GetJobs` or `GetTasks` by id, in etcd a transaction of {OPERATIONS_MAX} ranges, its \
             most."
        ));
    }
}

async fn tasks_of(client: &Client, jobs: &[i64]) -> anyhow::Result<Vec<i64>> {
    let mut tasks = Vec::new();
    for job_id in jobs {
        let listed = client.list_tasks(ListTasksRequest { job_id: *job_id, ..ListTasksRequest::default() }).await?;
        tasks.extend(listed.tasks.iter().map(|task| task.task_id));
    }
    ensure!(tasks.len() == KEYS, "the jobs have {} tasks, not {KEYS}", tasks.len());
    Ok(tasks)
}

fn key_of(number: usize) -> String {
    format!("bench/read/{:06}", number % KEYS)
}

impl Stage {
    async fn measure(&self, kind: Kind, how: Consistency, clients: usize, length: Duration) -> anyhow::Result<Load> {
        match kind {
            Kind::Job => self.job(how, clients, length).await,
            Kind::Jobs => self.jobs(how, clients, length).await,
            Kind::Tasks => self.tasks(how, clients, length).await,
            Kind::Key => self.key(how, clients, length).await,
            Kind::Keys => self.keys(how, clients, length).await,
        }
    }

    fn follower(&self, client: usize) -> Client {
        self.followers[client % self.followers.len()].clone()
    }

    fn peer(&self, client: usize) -> Kv {
        self.peers[client % self.peers.len()].clone()
    }

    async fn job(&self, how: Consistency, clients: usize, length: Duration) -> anyhow::Result<Load> {
        drive(clients, length, |number| {
            let (client, jobs, mut next) = (self.follower(number), Arc::clone(&self.jobs), number);
            move || {
                next += 1;
                let request = GetJobRequest { job_id: jobs[next % jobs.len()], consistency: how.into() };
                let client = client.clone();
                async move {
                    ensure!(client.get_job(request).await?.job.is_some(), "a job is missing");
                    Ok(())
                }
            }
        })
        .await
    }

    async fn jobs(&self, how: Consistency, clients: usize, length: Duration) -> anyhow::Result<Load> {
        drive(clients, length, |number| {
            let (client, jobs) = (self.follower(number), Arc::clone(&self.jobs));
            move || {
                let request = GetJobsRequest { job_ids: jobs.to_vec(), consistency: how.into() };
                let client = client.clone();
                async move {
                    ensure!(client.get_jobs(request).await?.jobs.len() == JOBS, "jobs are missing");
                    Ok(())
                }
            }
        })
        .await
    }

    async fn tasks(&self, how: Consistency, clients: usize, length: Duration) -> anyhow::Result<Load> {
        drive(clients, length, |number| {
            let (client, tasks) = (self.follower(number), Arc::clone(&self.tasks));
            move || {
                let request = GetTasksRequest { task_ids: tasks.to_vec(), consistency: how.into() };
                let client = client.clone();
                async move {
                    ensure!(client.get_tasks(request).await?.tasks.len() == KEYS, "tasks are missing");
                    Ok(())
                }
            }
        })
        .await
    }

    async fn key(&self, how: Consistency, clients: usize, length: Duration) -> anyhow::Result<Load> {
        drive(clients, length, |number| {
            let (kv, mut next) = (self.peer(number), number);
            move || {
                next += 1;
                let (mut kv, request) = (kv.clone(), range(next, how));
                async move {
                    ensure!(kv.range(request).await?.get_ref().kvs.len() == 1, "a key is missing");
                    Ok(())
                }
            }
        })
        .await
    }

    async fn keys(&self, how: Consistency, clients: usize, length: Duration) -> anyhow::Result<Load> {
        drive(clients, length, |number| {
            let (kv, mut next) = (self.peer(number), number);
            move || {
                let ranges = (next..next + OPERATIONS_MAX).map(|key| etcd::range_operation(range(key, how)));
                let request = api::TxnRequest { success: ranges.collect() };
                next += OPERATIONS_MAX;
                let mut kv = kv.clone();
                async move {
                    ensure!(kv.txn(request).await?.get_ref().responses.len() == OPERATIONS_MAX, "keys are missing");
                    Ok(())
                }
            }
        })
        .await
    }
}

fn range(number: usize, how: Consistency) -> api::RangeRequest {
    let serializable = how == Consistency::Stale;
    api::RangeRequest { key: key_of(number).into(), serializable, ..api::RangeRequest::default() }
}
