//! Clients that use a cluster as its users would, all at once and through whatever happens to it, and record all of it.
//!
//! Invariant: each recorded operation is one call on one node; what its client does not know is recorded as unknown,
//! and resolved by asking again, as another operation.

mod board;
mod caller;
mod calls;
mod counts;
mod endpoints;
pub mod facts;
pub mod history;
mod places;
mod plans;
mod recorder;
mod roles;
mod sources;
mod submission;
mod watches;

pub use counts::{Counts, Outcomes};
pub use places::Places;
pub use recorder::History;
pub use submission::{Fate, Submission};

pub(crate) use caller::{Caller, Shared};
pub(crate) use calls::How;
pub(crate) use plans::{FOREIGN_CONTENT, GROUP_LABEL};

use crate::stores::bucket::Bucket;
use plans::Plans;
use sources::Sources;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

/// What traffic there is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Client addresses by node.
    pub endpoints: BTreeMap<u64, String>,
    /// Sources, targets and the history are made in here.
    pub folder: PathBuf,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Reads, controls and allocations, over all clients.
    pub operations_per_second: f64,
    /// Submits, over all clients.
    pub jobs_per_second: f64,
    /// Jobs copy into and out of it too, if there is one.
    pub bucket: Option<Arc<Bucket>>,
}

impl Settings {
    /// As much as three nodes and two workers take beside it on two cores.
    #[must_use]
    pub fn new(endpoints: BTreeMap<u64, String>, folder: PathBuf, seed: u64) -> Self {
        Self { endpoints, folder, seed, operations_per_second: 60.0, jobs_per_second: 1.5, bucket: None }
    }

    /// Where its jobs copy from and to.
    #[must_use]
    pub fn places(&self) -> Places {
        Places::new(self.folder.clone(), self.bucket.clone())
    }
}

/// Running clients.
pub struct Traffic {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

const SUBMITTERS: u32 = 4;
const CONTROLLERS: u32 = 3;
const READERS: u32 = 9;
const WATCHERS: u32 = 4;
const ALLOCATORS: u32 = 3;
/// Between two looks at every node.
const MONITOR_INTERVAL: Duration = Duration::from_millis(500);
/// Shares of the operations, in a hundred; the rest is for readers.
const CONTROL_PERCENT: f64 = 8.0;
const ALLOCATE_PERCENT: f64 = 7.0;
const WATCH_PERCENT: f64 = 5.0;

impl Traffic {
    /// Makes the sources and starts every client.
    ///
    /// # Panics
    /// When the sources cannot be made.
    pub async fn start(settings: Settings) -> Self {
        let (folder, places) = (settings.folder.clone(), settings.places());
        let made = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&folder).expect("the folder can be made");
            let sources = Sources::make(&places.sources());
            places.fill();
            sources
        });
        let sources = made.await.expect("the sources can be made");
        let plans = Arc::new(Plans::new(sources, settings.places(), settings.seed));
        let shared = Arc::new(Shared::new(settings.endpoints.clone(), History::begin(&settings.folder)));
        let mut traffic = Self { shared, clients: JoinSet::new() };
        traffic.start_clients(&settings, &plans);
        traffic
    }

    fn start_clients(&mut self, settings: &Settings, plans: &Arc<Plans>) {
        let share = |percent: f64, clients: u32| {
            Duration::from_secs_f64(f64::from(clients) * 100.0 / (settings.operations_per_second * percent).max(0.01))
        };
        let submit_interval = Duration::from_secs_f64(f64::from(SUBMITTERS) / settings.jobs_per_second.max(0.01));
        let (control, allocate) = (share(CONTROL_PERCENT, CONTROLLERS), share(ALLOCATE_PERCENT, ALLOCATORS));
        let watch = share(WATCH_PERCENT, WATCHERS);
        let read = share(100.0 - CONTROL_PERCENT - ALLOCATE_PERCENT - WATCH_PERCENT, READERS);
        let mut place = 0;
        let mut caller = |name: &str, number: u32| {
            place += 1;
            Caller::new(Arc::clone(&self.shared), &format!("{name} {number}"), place, settings.seed)
        };
        for number in 1..=SUBMITTERS {
            self.clients.spawn(roles::submitter(caller("submitter", number), Arc::clone(plans), submit_interval));
        }
        for number in 1..=CONTROLLERS {
            self.clients.spawn(roles::controller(caller("controller", number), control));
        }
        for number in 1..=READERS {
            self.clients.spawn(roles::reader(caller("reader", number), read));
        }
        for number in 1..=WATCHERS {
            self.clients.spawn(roles::watcher(caller("watcher", number), watch));
        }
        for number in 1..=ALLOCATORS {
            self.clients.spawn(roles::allocator(caller("allocator", number), allocate));
        }
        self.clients.spawn(roles::monitor(caller("monitor", 1), MONITOR_INTERVAL));
    }

    /// The membership has changed.
    pub fn set_endpoints(&self, endpoints: BTreeMap<u64, String>) {
        self.shared.endpoints.set(endpoints);
    }

    /// No new jobs from now on, and nothing that changes one; reads go on.
    pub fn calm(&self) {
        self.shared.calm.store(true, Ordering::Relaxed);
    }

    /// What was recorded so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.shared.history.clone()
    }

    /// Waits until every client has ended its last call.
    ///
    /// # Panics
    /// When a client panicked.
    pub async fn stop(mut self) -> History {
        self.calm();
        self.shared.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        self.shared.history.clone()
    }
}
