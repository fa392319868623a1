//! What happens next: events in the order of their time, and of their making where that is the same.

use crate::client::Call;
use crate::link::{FromWorker, ToWorker};
use crate::run::Write;
use ferry_machine::id::TaskId;
use std::collections::BTreeMap;

/// Something that happens at a moment.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A proposal reaches a quorum, or does not.
    Commit(u64),
    /// A replica applies what is committed.
    Apply(usize),
    /// The replicas look whether they have a leader.
    Elect,
    /// A former leader hears of a later term.
    Depose { node: usize, term: u64 },
    /// A node starts, with its last checkpoint.
    StartNode(usize),
    /// A leader's loop comes round.
    Round { node: usize, term: u64 },
    /// A round of confirmation of the leadership is answered.
    Confirm { node: usize, term: u64, link: u64, sequence: u64, arrived_at: u64 },
    /// A message arrives at the node of a link.
    ToNode { link: u64, message: FromWorker },
    /// A message arrives at the worker of a link.
    ToWorker { link: u64, message: ToWorker },
    /// A worker's timer.
    Beat(usize),
    /// An attempt goes on.
    Step { process: usize, run: (TaskId, u32) },
    /// A write reaches the object store.
    Land(Write),
    /// A worker has waited long enough for the answer to a write.
    GiveUp { process: usize, run: (TaskId, u32) },
    /// A worker is started.
    StartWorker(usize),
    /// A call reaches a node.
    Call(Call),
    /// A client sends the next page of a submit.
    Submit(usize),
    /// A client does something.
    Act,
    /// A fault.
    Fault,
}

/// Events to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    made: u64,
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, at_ms: u64, event: Event) {
        self.made += 1;
        self.events.insert((at_ms, self.made), event);
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at_ms, _), event)| (at_ms, event))
    }

    /// Time passes in which nothing happens.
    pub(crate) fn delay_all(&mut self, by_ms: u64) {
        let events = std::mem::take(&mut self.events);
        self.events = events.into_iter().map(|((at_ms, made), event)| ((at_ms + by_ms, made), event)).collect();
    }
}
