//! Tells workers their shares of the limits of jobs: lowers some before it raises others, so that the shares as they are sent
//! never exceed a limit, and sends assignments last, each with the share of its worker.
//!
//! A share counts from its sending; no worker acknowledges one. Where a connection ended, the worker keeps to the last share
//! that reached it until it says hello again or its lease ends.

use super::Session;
use crate::leadership::dispatcher::Run;
use crate::leadership::shares::{Member, Share, Told, divide};
use ferry_machine::id::{JobId, TaskId, WorkerId};
use ferry_machine::tables::Read;
use ferry_machine::view;
use ferry_proto::v1::{self, Assign, SessionResponse, session_response::Message};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Brings the shares of all jobs in line with who runs attempts of them, and sends what has been assigned.
pub(super) fn tell(sessions: &mut BTreeMap<WorkerId, Session>, read: &dyn Read, assigned: Vec<(WorkerId, Assign)>) {
    let limited = limited_jobs(sessions);
    let others = sessions.values().any(Session::runs_unknown);
    let shares: Vec<(WorkerId, JobId, Share)> =
        limited.iter().flat_map(|job| shares_of(sessions, read, *job, others)).collect();
    for (worker, job, share) in &shares {
        if let Some(session) = sessions.get_mut(worker) {
            session.lower(*job, *share);
        }
    }
    for (worker, job, share) in &shares {
        if let Some(session) = sessions.get_mut(worker) {
            session.give(*job, *share);
        }
    }
    for session in sessions.values_mut() {
        session.lift(&limited);
    }
    for (worker, assign) in assigned {
        if let Some(session) = sessions.get_mut(&worker) {
            session.assign(assign);
        }
    }
}

fn limited_jobs(sessions: &BTreeMap<WorkerId, Session>) -> BTreeSet<JobId> {
    let marks = sessions.values().flat_map(|session| &session.jobs);
    marks.filter(|(_, mark)| mark.is_limited()).map(|(job, _)| *job).collect()
}

/// The new shares of a job's workers; none of those that are left with what they have.
fn shares_of(
    sessions: &BTreeMap<WorkerId, Session>,
    read: &dyn Read,
    job: JobId,
    others: bool,
) -> Vec<(WorkerId, JobId, Share)> {
    let Some(row) = view::job(read, job) else { return Vec::new() };
    let run = sessions.iter().filter(|(_, session)| session.jobs.contains_key(&job));
    let (workers, members): (Vec<WorkerId>, Vec<Member>) =
        run.map(|(worker, session)| (*worker, session.member(job))).unzip();
    let shares = divide(Share::of_job(&row.spec.options), &members, others);
    workers.into_iter().zip(shares).filter_map(|(worker, share)| Some((worker, job, share?))).collect()
}

impl Session {
    /// Whether it runs attempts of jobs that are not known: it has not said hello to this leader, or has just done so.
    fn runs_unknown(&self) -> bool {
        self.compared_at.is_none() && (self.outgoing.is_none() || !self.runs.is_empty())
    }

    fn member(&self, job: JobId) -> Member {
        let told = match self.shares.get(&job) {
            None => Told::Nothing,
            Some(None) => Told::Unknown,
            Some(Some(share)) => Told::Share(*share),
        };
        Member { told, connected: self.outgoing.is_some() }
    }

    /// The first step to a new share: what is lower of it. Of an unknown share everything may be.
    fn lower(&mut self, job: JobId, share: Share) {
        match self.shares.get(&job) {
            Some(Some(told)) => self.say(job, told.lower(share)),
            Some(None) => self.say(job, share.nothing()),
            None => {}
        }
    }

    /// The second step. Where nothing of the job runs yet, the share goes with the assignment.
    fn give(&mut self, job: JobId, share: Share) {
        match self.shares.entry(job) {
            Entry::Vacant(unsaid) => drop(unsaid.insert(Some(share))),
            Entry::Occupied(_) => self.say(job, share),
        }
    }

    /// Tells of jobs without limits, once, that there is none (any more).
    fn lift(&mut self, limited: &BTreeSet<JobId>) {
        let told = self.shares.iter().filter(|(_, share)| **share != Some(Share::UNLIMITED));
        let lifted: Vec<JobId> =
            told.map(|(job, _)| *job).filter(|job| self.jobs.contains_key(job) && !limited.contains(job)).collect();
        for job in lifted {
            self.say(job, Share::UNLIMITED);
        }
    }

    /// One that does not reach its worker costs it the session, and is told again in the next.
    fn say(&mut self, job: JobId, share: Share) {
        if self.shares.get(&job) != Some(&Some(share)) && self.send(limit_of(job, share)) {
            self.shares.insert(job, Some(share));
        }
    }

    fn assign(&mut self, mut assign: Assign) {
        let (job, attempt) = (JobId(assign.job_id), assign.attempt.unwrap_or_default());
        // With an unknown share the worker runs other attempts of the job already, and this one would set it.
        let share = match (self.shares.get(&job), self.jobs.get(&job)) {
            (Some(Some(share)), _) => *share,
            (Some(None), Some(mark)) => mark.limits().nothing(),
            (None, _) | (Some(None), None) => Share::UNLIMITED,
        };
        assign.bandwidth_bytes_per_second = rate_of(share.bytes_per_second);
        assign.requests_per_1000_s = rate_of(share.requests_per_1000_s);
        (assign.bandwidth_held, assign.requests_held) = held(share);
        if self.send(SessionResponse { message: Some(Message::Assign(assign)) }) {
            self.shares.insert(job, Some(share));
            self.runs.insert(TaskId(attempt.task_id), Run::of_worker(attempt.attempt));
        }
    }
}

/// As a message has it, where 0 is no limit. A worker that does not know what is held takes nothing for next to nothing.
fn rate_of(rate: Option<u64>) -> u64 {
    rate.map_or(0, |rate| rate.max(1))
}

fn held(share: Share) -> (bool, bool) {
    (share.bytes_per_second == Some(0), share.requests_per_1000_s == Some(0))
}

fn limit_of(job: JobId, share: Share) -> SessionResponse {
    let (bandwidth_held, requests_held) = held(share);
    let limit = v1::Limit {
        job_id: job.0,
        bandwidth_bytes_per_second: rate_of(share.bytes_per_second),
        requests_per_1000_s: rate_of(share.requests_per_1000_s),
        bandwidth_held,
        requests_held,
    };
    SessionResponse { message: Some(Message::Limit(limit)) }
}
