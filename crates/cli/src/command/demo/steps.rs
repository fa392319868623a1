//! What the demo says: numbered steps on stdout, what happens in each below it, and a summary.

use super::failover::Failover;
use super::proof::Proven;
use super::witness::Seen;
use crate::output::print;
use crate::units::{show_bytes, show_duration};
use std::time::Duration;

/// The steps of a demo.
pub(super) struct Steps {
    number: usize,
    count: usize,
}

impl Steps {
    pub(super) fn new(count: usize) -> Self {
        Self { number: 0, count }
    }

    /// Begins the next step.
    pub(super) fn begin(&mut self, title: &str) {
        self.number += 1;
        line(&format!("\n[{}/{}] {title}", self.number, self.count));
    }

    /// Says what happens.
    #[expect(clippy::unused_self, reason = "only within a step there is something to say")]
    pub(super) fn say(&self, text: &str) {
        line(&format!("      {text}"));
    }

    /// Says what held.
    #[expect(clippy::unused_self, reason = "only within a step there is something to say")]
    pub(super) fn held(&self, text: &str) {
        line(&format!("   ok {text}"));
    }

    /// Says what the demo has shown.
    pub(super) fn summary(
        &self,
        restored: &Proven,
        bulk: &Proven,
        failover: Option<&Failover>,
        seen: &Seen,
        elapsed: Duration,
    ) {
        line("\nEverything held:");
        self.held(&format!("real Milvus segments restored: {}", proven(restored)));
        self.held(&format!("bulk job: {}", proven(bulk)));
        if let Some(failover) = failover {
            let after = show_duration(failover.gap);
            self.held(&format!(
                "node {} led {after} after the kill of node {}",
                failover.leader_id, failover.killed_id
            ));
        }
        self.held(&format!("{} reads on three nodes saw no target Flushed before its job was Completed", seen.reads()));
        line(&format!("Done in {} s.", elapsed.as_secs()));
    }
}

fn proven(proven: &Proven) -> String {
    format!("{} segments, {} files, {}, byte-equal", proven.segments, proven.files, show_bytes(proven.bytes))
}

/// A reader of stdout that is gone must not end a demo that others watch by its exit code.
fn line(text: &str) {
    let _ = print(&format!("{text}\n"));
}
