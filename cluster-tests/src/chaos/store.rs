//! A real store on the clients' machine, and the relay that every node and worker reaches it through.

use super::network::Host;
use crate::stores::bucket::Bucket;
use crate::stores::relay::{Fate, Head, Relay, Way};
use crate::stores::{Variable, seaweed};
use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PORT: u16 = 8_333;
const BUCKET: &str = "chaos";
/// Of the requests that write, so many in a hundred are late while others are.
const LATE_PERCENT: u32 = 30;
/// Longer than a clean-up takes, shorter than `late-writes` of the settings.
const LATE_MS: std::ops::Range<u64> = 2_000..6_000;

/// A server that workers may copy into and out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// `SeaweedFS`, by S3.
    Seaweedfs,
}

/// The store of a run.
pub(crate) struct Store {
    bucket: Arc<Bucket>,
    environment: Vec<Variable>,
    relay: Relay,
}

impl Store {
    /// Starts it in the namespace of the clients.
    pub(crate) fn start(kind: StoreKind) -> Self {
        let server = Arc::new(match kind {
            StoreKind::Seaweedfs => seaweed::start(),
        });
        let relay = Relay::start_at(format!("{}:{PORT}", Host::Clients.address()), server.address());
        let environment = server.environment_by(relay.address());
        Self { bucket: Arc::new(Bucket::make(server, BUCKET)), environment, relay }
    }

    pub(crate) fn bucket(&self) -> Arc<Bucket> {
        Arc::clone(&self.bucket)
    }

    /// What every node and worker needs to reach it.
    pub(crate) fn environment(&self) -> Vec<Variable> {
        self.environment.clone()
    }

    /// The next connections end in the middle of something, until this is called with none.
    pub(crate) fn cut(&self, connections: usize, way: Way, after_bytes: usize) {
        self.relay.cut(connections, way, after_bytes);
    }

    pub(crate) fn cuts_left(&self) -> usize {
        self.relay.cuts_left()
    }

    /// Nothing comes through for a while.
    pub(crate) fn be_silent(&self, time: Duration) {
        self.relay.be_silent_after(0, time);
    }

    /// How often anything was held back by a silence.
    pub(crate) fn held_back(&self) -> usize {
        self.relay.held_back()
    }

    /// Some requests that write lose their caller, and are carried out later all the same. How many were chosen so far.
    pub(crate) fn let_writes_be_late(&self, seed: u64) -> Arc<AtomicUsize> {
        let (mut random, chosen) = (StdRng::seed_from_u64(seed), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&chosen);
        self.relay.decide(move |head: &Head| {
            if !head.writes() || random.random_range(0..100) >= LATE_PERCENT {
                return Fate::Passes;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            Fate::Late(Duration::from_millis(random.random_range(LATE_MS)))
        });
        chosen
    }

    /// How many requests were carried out after their callers were gone.
    pub(crate) fn carried_out_late(&self) -> usize {
        self.relay.carried_out_late()
    }

    /// Every fault of its line is off.
    pub(crate) fn mend(&self) {
        self.relay.pass_all();
        self.relay.cut(0, Way::Up, 0);
        self.relay.end_silence();
    }
}
