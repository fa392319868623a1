//! Everything there is in a run: the network, the machines with their nodes, the workers, and what they say.
//!
//! Invariant: a node that has ended is started again by the supervisor alone or by the fault that ended it, and every
//! end that no fault allowed is a violation.

use super::machine::Machine;
use super::network::{Host, Network};
use super::observation::{self, Leader, Seen};
use super::seat::Seat;
use super::settings::{MACHINES, Settings, StoreAccess, WORKERS};
use super::store::Store;
use super::trouble::Trouble;
use crate::traffic;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happened when, for people.
const TIMELINE: &str = "timeline.txt";
/// Between two looks at the processes.
const SUPERVISION_INTERVAL: Duration = Duration::from_millis(100);
/// Between two questions to the nodes.
const QUESTION_INTERVAL: Duration = Duration::from_millis(80);

/// The world of a run.
pub(crate) struct World {
    pub(crate) network: Network,
    machines: Vec<Arc<Machine>>,
    pub(crate) seats: Vec<Seat>,
    store: Option<Store>,
    founders: BTreeMap<u64, String>,
    /// Ids are never used twice.
    next_id: AtomicU64,
    /// Client addresses of the nodes that belong to the cluster.
    endpoints: watch::Sender<BTreeMap<u64, String>>,
    violations: Mutex<Vec<String>>,
    began: Instant,
    folder: PathBuf,
}

impl World {
    /// Makes the network, the machines and the first nodes, and starts nothing.
    pub(crate) fn build(settings: &Settings) -> Result<Arc<Self>, Trouble> {
        let nodes = (1..=MACHINES).map(Host::Node);
        let hosts = nodes.clone().chain((1..=WORKERS).map(Host::Worker)).chain([Host::Clients]).collect();
        let network = Network::build(hosts)?;
        let store = settings.store.map(Store::start);
        let access = store.as_ref().map(|store| StoreAccess::new(store.environment())).unwrap_or_default();
        let machine = |host| Arc::new(Machine::new(host, &settings.folder, access.clone()));
        let machines: Vec<_> = nodes.map(machine).collect();
        let mut founders = BTreeMap::new();
        for (id, machine) in (1..=settings.nodes).zip(&machines) {
            machine.settle(id);
            founders.insert(id, machine.address(id));
        }
        let seat =
            |number: u8| Seat::new(Host::Worker(number), format!("worker-{number}"), &settings.folder, access.clone());
        Ok(Arc::new(Self {
            network,
            machines,
            seats: (1..=WORKERS).map(seat).collect(),
            store,
            next_id: AtomicU64::new(settings.nodes + 1),
            endpoints: watch::Sender::new(founders.clone()),
            founders,
            violations: Mutex::default(),
            began: Instant::now(),
            folder: settings.folder.clone(),
        }))
    }

    /// The store, in a run that has one.
    pub(crate) fn store(&self) -> Result<&Store, String> {
        self.store.as_ref().ok_or_else(|| "there is no store: run with --store".to_owned())
    }

    /// What clients are to do, if nothing else is wanted of them.
    pub(crate) fn traffic(&self, seed: u64) -> traffic::Settings {
        let bucket = self.store.as_ref().map(Store::bucket);
        traffic::Settings { bucket, ..traffic::Settings::new(self.endpoints(), self.folder.join("traffic"), seed) }
    }

    /// Nothing is between anybody any more.
    pub(crate) fn mend(&self) {
        self.network.mend();
        if let Some(store) = &self.store {
            store.mend();
        }
    }

    /// Starts all that does not run.
    pub(crate) fn start_all(&self) {
        for machine in &self.machines {
            machine.start(&self.founders);
        }
        let endpoints = self.endpoints();
        for seat in &self.seats {
            seat.start(&endpoints);
        }
    }

    /// Looks after the processes for as long as it is polled.
    pub(crate) async fn supervise(&self) {
        loop {
            for machine in &self.machines {
                if let Some(sentence) = machine.look_after() {
                    self.violate(sentence);
                    self.start(machine);
                }
            }
            for seat in &self.seats {
                if let Some(sentence) = seat.look_after() {
                    self.violate(sentence);
                    seat.start(&self.endpoints());
                }
            }
            tokio::time::sleep(SUPERVISION_INTERVAL).await;
        }
    }

    /// Machines with a node.
    pub(crate) fn homes(&self) -> Vec<Arc<Machine>> {
        self.machines.iter().filter(|machine| machine.id().is_some()).cloned().collect()
    }

    /// The machine of a node.
    pub(crate) fn home(&self, id: u64) -> Result<Arc<Machine>, String> {
        let home = self.machines.iter().find(|machine| machine.id() == Some(id));
        home.cloned().ok_or_else(|| format!("node {id} has no machine"))
    }

    /// A machine without a node.
    pub(crate) fn vacancy(&self) -> Option<Arc<Machine>> {
        self.machines.iter().find(|machine| machine.id().is_none()).cloned()
    }

    /// An id that no node ever had.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn start(&self, machine: &Machine) {
        machine.start(&self.founders);
    }

    /// The nodes that clients are told of.
    pub(crate) fn endpoints(&self) -> BTreeMap<u64, String> {
        self.endpoints.borrow().clone()
    }

    pub(crate) fn watch_endpoints(&self) -> watch::Receiver<BTreeMap<u64, String>> {
        self.endpoints.subscribe()
    }

    pub(crate) fn change_endpoints(&self, change: impl FnOnce(&mut BTreeMap<u64, String>)) {
        self.endpoints.send_modify(change);
    }

    /// What those nodes say that answer.
    pub(crate) async fn look(&self) -> Vec<Seen> {
        let mut questions = JoinSet::new();
        for machine in self.homes().into_iter().filter(|machine| machine.is_running()) {
            if let Some(id) = machine.id() {
                let address = machine.address(id);
                questions.spawn(async move { observation::ask(&address).await });
            }
        }
        questions.join_all().await.into_iter().flatten().collect()
    }

    /// Asks until there is an answer, or until `bound` has passed.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        bound: Duration,
        mut find: impl FnMut(&[Seen]) -> Option<T>,
    ) -> Result<T, String> {
        let began = Instant::now();
        loop {
            let seen = self.look().await;
            if let Some(found) = find(&seen) {
                return Ok(found);
            }
            if began.elapsed() > bound {
                return Err(format!("no {what} within {bound:?}; the nodes say {seen:?}"));
            }
            tokio::time::sleep(QUESTION_INTERVAL).await;
        }
    }

    /// Who leads, once somebody does.
    pub(crate) async fn leader(&self) -> Result<Leader, String> {
        self.until("leader", Duration::from_secs(20), observation::leader).await
    }

    /// Who leads a later term than this one.
    pub(crate) async fn leader_after(&self, term: u64) -> Result<Leader, String> {
        let later = |seen: &[Seen]| observation::leader(seen).filter(|leader| leader.term > term);
        self.until("leader of a later term", Duration::from_secs(20), later).await
    }

    /// Every node runs, answers, follows one leader and has applied what was applied when this began.
    pub(crate) async fn healed(&self, bound: Duration) -> Result<(), String> {
        let mut goal = None;
        let homes = self.homes().len();
        let healed = move |seen: &[Seen]| {
            let leader = observation::leader(seen)?;
            let goal = *goal.get_or_insert(seen.iter().map(|node| node.applied).max()?);
            let with = |node: &Seen| node.term == leader.term && node.applied >= goal && !node.learns;
            (seen.len() == homes && seen.iter().all(with)).then_some(())
        };
        self.until("healed cluster", bound, healed).await
    }

    /// Notes something that must not be.
    pub(crate) fn violate(&self, sentence: String) {
        self.say("VIOLATION", &sentence);
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(sentence);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A line for people, with the time since the run began; on stderr, and kept with the run.
    pub(crate) fn say(&self, who: &str, what: &str) {
        let line = format!("{:>7.1} s  {who:<20} {what}", self.began.elapsed().as_secs_f64());
        eprintln!("{line}");
        let file = File::options().create(true).append(true).open(self.folder.join(TIMELINE));
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
            eprintln!("{TIMELINE} is not complete: {error}");
        }
    }

    /// Logs in which something panicked.
    pub(crate) fn panics(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines = text.lines().filter(|line| line.contains("panicked at"));
                found.extend(lines.map(|line| format!("{}: {line}", path.display())));
            }
        }
        found
    }
}
