//! Seeded simulation of the real machine with leaders, workers, clients, clocks and every fault, in one thread.
//!
//! What is simulated around the machine follows `server` and `worker`: the leader's loop, sessions, leases, attempts. A
//! seed is a whole history: first a phase with faults, in which nothing wrong may happen, then one without, in which
//! everything must heal. The same seed gives the same bytes.

mod attempt;
mod bug;
mod client;
mod clock;
mod consensus;
mod fault;
mod leader;
mod life;
mod link;
mod oracle;
mod queue;
mod random;
mod record;
mod run;
mod session;
mod settings;
mod store;
mod verification;
mod worker;
mod world;

use std::collections::BTreeMap;

pub use bug::Bug;
pub use life::{Death, Ending, Life, LifeReport};
pub use settings::Scale;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulation {
    /// Everything that chance decides follows from it.
    pub seed: u64,
    /// How large it is.
    pub scale: Scale,
    /// What is broken on purpose.
    pub bug: Option<Bug>,
    /// Whether somebody wants to read what happens.
    pub transcribed: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The first thing that must not be.
    pub contradiction: Option<String>,
    /// How often everything happened: faults, commands, outcomes, rejections, ends of jobs.
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, line by line; empty unless it was asked for.
    pub transcript: String,
}

impl Simulation {
    /// A seed as the program and the tests run it: its scale follows from it.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, scale: Scale::of_seed(seed), bug: None, transcribed: false }
    }

    /// Runs it to its end, or to the first contradiction.
    #[must_use]
    pub fn run(self) -> Report {
        let mut world = world::World::new(self.seed, self.scale, self.bug, self.transcribed);
        world.run();
        Report {
            contradiction: world.contradiction,
            counts: world.counts,
            transcript: world.transcript.unwrap_or_default(),
        }
    }
}
