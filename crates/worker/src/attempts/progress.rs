//! How far running attempts have come, as the leader knows it.

use super::{Attempts, Phase};
use ferry_proto::v1::Progress;
use ferry_proto::v1::session_request::Message;

impl Attempts {
    /// Progress that has moved since it was last told.
    pub(crate) fn progress(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for (key, entry) in &mut self.entries {
            if let Phase::Running(running) = &mut entry.phase {
                let copied_bytes = running.meter.bytes();
                if copied_bytes > running.reported_bytes && running.why.is_none() {
                    running.reported_bytes = copied_bytes;
                    messages.push(Message::Progress(Progress { attempt: Some((*key).into()), copied_bytes }));
                }
            }
        }
        messages
    }

    /// A new leader knows no progress: it is told again.
    pub(crate) fn forget_progress(&mut self) {
        for entry in self.entries.values_mut() {
            if let Phase::Running(running) = &mut entry.phase {
                running.reported_bytes = 0;
            }
        }
    }
}
