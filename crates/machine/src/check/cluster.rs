//! The cluster's counters equal its rows, its id sequence is above every id, and names lead to what they name.

use super::{Findings, Rows, View};
use crate::derive;
use crate::id::{TaskId, WorkerId};
use crate::key::Key;
use crate::read;
use crate::row::{Cluster, Request, Row, Worker, WorkerState};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    count_jobs(view, findings);
    check_workers(view, findings);
    check_requests(view, findings);
    let cluster = &view.cluster;
    let key = Key::Cluster;
    findings.expect(cluster.id_start >= 1 && cluster.next_id >= cluster.id_start, &key, "its ids begin before 1");
}

fn count_jobs(view: &View<'_>, findings: &mut Findings) {
    let mut counted = Cluster::default();
    for (key, row) in Rows::jobs(view.read) {
        let Row::Job(job) = row else {
            findings.add(key, "is no job");
            continue;
        };
        counted.jobs = derive::jobs_moved(counted.jobs, Default::default(), derive::counts_of(&job));
        counted.tasks = derive::tasks_moved(counted.tasks, Default::default(), derive::task_counts_of(&job));
        findings.expect(key == Key::Job(job.id), &key, "has the row of another job");
        let own = (view.cluster.id_start..view.cluster.next_id).contains(&job.id.0);
        findings.expect(own, &key, "has an id that was never given out");
    }
    findings.equal(&Key::Cluster, "jobs", &view.cluster.jobs, &counted.jobs);
    findings.equal(&Key::Cluster, "tasks", &view.cluster.tasks, &counted.tasks);
}

fn check_workers(view: &View<'_>, findings: &mut Findings) {
    let mut workers = 0;
    for (key, row) in Rows::workers(view.read) {
        let Row::Worker(worker) = row else {
            findings.add(key, "is no worker");
            continue;
        };
        workers += 1;
        findings.expect(key == Key::Worker(worker.id), &key, "has the row of another worker");
        findings.expect(worker.id.0 < view.cluster.next_id, &key, "has an id that was never given out");
        findings.expect(read::worker_named(view.read, &worker.name) == Some(worker.id), &key, "is not found by name");
        check_assignments(view, &worker, &key, findings);
    }
    findings.equal(&Key::Cluster, "workers", &view.cluster.workers, &workers);
    for (key, row) in Rows::worker_names(view.read) {
        let (Key::WorkerName(name), Row::WorkerName(id)) = (&key, row) else {
            findings.add(key, "is no name of a worker");
            continue;
        };
        let named = read::worker(view.read, id).is_some_and(|worker| worker.name == *name);
        findings.expect(named, &key, "names no worker");
    }
}

fn check_assignments(view: &View<'_>, worker: &Worker, key: &Key, findings: &mut Findings) {
    let from = Key::Assignment(worker.id, TaskId(i64::MIN));
    let to = Key::Assignment(WorkerId(worker.id.0.saturating_add(1)), TaskId(i64::MIN));
    let mut leased = 0;
    for (assignment, _) in Rows::new(view.read, from, to) {
        leased += 1;
        let Key::Assignment(_, task) = assignment else { continue };
        let incarnation = read::task(view.read, task).and_then(|task| task.lease).map(|lease| lease.incarnation);
        let current = worker.state != WorkerState::Active || incarnation == Some(worker.incarnation);
        findings.expect(current, &assignment, "was leased to an incarnation that is gone");
    }
    findings.equal(key, "its number of leases", &worker.leased, &leased);
    let returned = worker.state == WorkerState::Returning && worker.leased == 0;
    findings.expect(!returned, key, "is returning although it has nothing to release");
}

fn check_requests(view: &View<'_>, findings: &mut Findings) {
    for (key, row) in Rows::requests(view.read) {
        let (Key::Request(id), Row::Request(request)) = (&key, row) else {
            findings.add(key, "is no request");
            continue;
        };
        check_request(view, id, &request, &key, findings);
    }
}

fn check_request(view: &View<'_>, id: &str, request: &Request, key: &Key, findings: &mut Findings) {
    match read::job(view.read, request.job) {
        Some(job) => {
            findings.expect(job.request_id == id, key, "names a job that another request made");
            findings.expect(request.expires_at.is_none(), key, "expires although its job has rows");
        }
        None => findings.expect(request.expires_at.is_some(), key, "never expires although its job is gone"),
    }
}
