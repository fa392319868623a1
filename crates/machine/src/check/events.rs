//! Events are complete and in order, and tell of each job what its row says: no transition was forgotten or made up.
//!
//! What was told last of each job is held in memory meanwhile, a few words for each job that the kept events name.

use super::{Findings, Rows, View, come};
use crate::derive;
use crate::id::{EventId, JobId};
use crate::key::Key;
use crate::row::{Event, Job, Row, Transition};
use crate::time::Time;
use crate::transition;
use crate::view::{self, State};
use std::collections::BTreeMap;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let log = view.cluster.events;
    let mut jobs: BTreeMap<JobId, Told> = BTreeMap::new();
    let (mut kept, mut before) = (0, None);
    for (key, row) in Rows::events(view.read) {
        let (Key::Event(id), Row::Event(event)) = (&key, row) else {
            findings.add(key, "is no event");
            continue;
        };
        kept += 1;
        findings.expect(log.first <= *id && *id <= log.last, &key, "is not among the events that are kept");
        findings.expect(follows(before, *id, log.first), &key, "does not follow on the event before it");
        let in_time = before.is_none_or(|(_, at)| at <= event.at.at) && come(view, event.at.at);
        findings.expect(in_time, &key, "did not happen when it could");
        before = Some((*id, event.at.at));
        let told = jobs.get(&event.job);
        let possible =
            told.map_or(event.transition == Transition::Submitted || expired(view), |told| told.allows(&event));
        findings.expect(possible, &key, "cannot have happened to its job then");
        let told = Told::after(told.copied().unwrap_or_default(), &event);
        jobs.insert(event.job, told);
    }
    findings.equal(&Key::Cluster, "events", &log.kept, &kept);
    findings.expect(before.is_none_or(|(last, _)| last == log.last), &Key::Cluster, "has lost its last event");
    findings.expect(log.delivered <= log.last.next(), &Key::Cluster, "delivered events that never were");
    compare(view, &jobs, findings);
}

/// Whether some events are gone, and with them what they told.
fn expired(view: &View<'_>) -> bool {
    view.cluster.events.first != EventId::FIRST
}

/// The events of a revision are numbered from zero without a gap; only the oldest of all may have lost some before it.
fn follows(before: Option<(EventId, Time)>, id: EventId, first: EventId) -> bool {
    match before {
        Some((before, _)) if before.revision == id.revision => id == before.next(),
        Some((before, _)) => before.revision < id.revision && id.ordinal == 0,
        None => id.ordinal == 0 || id == first,
    }
}

/// What users know of a job from its events.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    state: Option<State>,
    /// Not known where only later events are kept.
    paused: Option<bool>,
    cleaned: Option<Transition>,
    collected: bool,
}

impl Told {
    fn allows(&self, event: &Event) -> bool {
        let ended = self.state.is_some_and(State::terminal);
        let state_stays = self.state == Some(event.state);
        let possible = match event.transition {
            Transition::Submitted => false,
            Transition::Executing | Transition::Completed | Transition::Failed | Transition::Canceled => !ended,
            Transition::Paused => state_stays && self.paused != Some(true),
            Transition::Resumed => state_stays && self.paused != Some(false),
            Transition::CleanedUp | Transition::LeftOver => state_stays && ended && self.cleaned.is_none(),
            Transition::Collected => state_stays && ended,
        };
        possible && !self.collected
    }

    fn after(mut self, event: &Event) -> Self {
        self.state = Some(event.state);
        match event.transition {
            Transition::Submitted | Transition::Resumed => self.paused = Some(false),
            Transition::Paused => self.paused = Some(true),
            Transition::CleanedUp | Transition::LeftOver => self.cleaned = Some(event.transition),
            Transition::Collected => self.collected = true,
            Transition::Executing | Transition::Completed | Transition::Failed | Transition::Canceled => {}
        }
        self
    }

    fn agrees(&self, job: &Job, expired: bool) -> bool {
        let cleaned = transition::end_of_clean_up(job);
        !self.collected
            && self.state == view::state(job)
            && self.paused.is_none_or(|paused| paused == job.paused)
            && (self.cleaned == cleaned || (expired && self.cleaned.is_none()))
    }
}

/// The events tell what the rows say, both ways.
fn compare(view: &View<'_>, told: &BTreeMap<JobId, Told>, findings: &mut Findings) {
    for (key, row) in Rows::jobs(view.read) {
        let Row::Job(job) = row else { continue };
        if derive::hidden(&job) {
            continue;
        }
        let agrees = told.get(&job.id).map_or(expired(view), |told| told.agrees(&job, expired(view)));
        findings.expect(agrees, &key, "is not what the events tell of it");
    }
    for (job, told) in told {
        let gone = view::job(view.read, *job).is_none();
        findings.expect(told.collected || !gone, &Key::Job(*job), "is gone, and no event tells of it");
    }
}
