//! Attempts of which each writing request was answered, as the leader knows them: nothing of them can come late while it does.
//!
//! Invariant: no attempt of which the leader may take that for true writes before the answer to its own, last request.

use super::{Attempts, Phase, Running};
use crate::writes;
use ferry_proto::v1::session_request::Message;
use ferry_proto::v1::{WritesBegin, WritesBegun, WritesSettled};
use std::sync::Arc;
use tokio::sync::Notify;

/// What the leader was last told of an attempt's writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing, or that they begin, and it knows: the attempt may write.
    #[default]
    Nothing,
    /// They have settled.
    Settled,
    /// They are to begin again, under this number.
    Begin(u64),
}

impl Attempts {
    /// Woken when `writes_news` has something to say.
    pub(crate) fn writes_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.writes_changed)
    }

    /// What the leader does not know yet of the attempts' writes.
    pub(crate) fn writes_news(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for (key, entry) in &mut self.entries {
            let Phase::Running(running) = &mut entry.phase else { continue };
            let told = match (running.writes.phase(), running.told) {
                (writes::Phase::Open, _) => Told::Nothing,
                (writes::Phase::Settled, _) => Told::Settled,
                (writes::Phase::Asking, told @ Told::Begin(_)) => told,
                (writes::Phase::Asking, Told::Nothing | Told::Settled) => {
                    self.last_sequence += 1;
                    Told::Begin(self.last_sequence)
                }
            };
            if told != running.told {
                running.told = told;
                messages.extend(running.writes_message((*key).into()));
            }
        }
        messages
    }

    /// The same once more, for a message may be lost.
    pub(crate) fn writes_outstanding(&self) -> Vec<Message> {
        let message = |(key, entry): (&super::Key, &super::Entry)| match &entry.phase {
            Phase::Running(running) => running.writes_message((*key).into()),
            Phase::Finished { .. } => None,
        };
        self.entries.iter().filter_map(message).collect()
    }

    /// A new leader knows nothing of it, and its answers are to other requests. One that does not hear of writes never
    /// answers: then nothing waits for it.
    pub(crate) fn forget_writes(&mut self, leader_hears_writes: bool) {
        self.leader_hears_writes = leader_hears_writes;
        for entry in self.entries.values_mut() {
            if let Phase::Running(running) = &mut entry.phase {
                running.told = Told::Nothing;
                running.writes.may_settle(leader_hears_writes);
            }
        }
    }

    /// The leader takes an attempt for writing: it may, where that answers its last request and it was not stopped since.
    pub(crate) fn writes_begun(&mut self, begun: WritesBegun) {
        let key = begun.attempt.unwrap_or_default().into();
        if let Some(super::Entry { phase: Phase::Running(running), .. }) = self.entries.get_mut(&key)
            && running.told == Told::Begin(begun.sequence)
            && running.why.is_none()
        {
            running.told = Told::Nothing;
            running.writes.open();
        }
    }
}

impl Running {
    /// One that was stopped sends nothing any more, and says what it left when it ends.
    fn writes_message(&self, attempt: ferry_proto::v1::Attempt) -> Option<Message> {
        let attempt = Some(attempt);
        match self.told {
            Told::Settled if self.why.is_none() => Some(Message::WritesSettled(WritesSettled { attempt })),
            Told::Begin(sequence) if self.why.is_none() => {
                Some(Message::WritesBegin(WritesBegin { attempt, sequence }))
            }
            Told::Nothing | Told::Settled | Told::Begin(_) => None,
        }
    }
}
