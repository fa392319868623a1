//! A whole run: a cluster under traffic, the faults, the healing, the checks, and the verdict.
//!
//! Invariant: a run passes only if every claimed fault bit often enough, traffic was there, everything healed within its
//! bound, and no checker found a contradiction.

use super::nemesis::Nemesis;
use super::report::Report;
use super::schedule::{Schedule, Slot};
use super::settings::Settings;
use super::tally::Tally;
use super::trouble::Trouble;
use super::world::World;
use crate::checkers::{self, Ending, Verdict};
use crate::traffic::Traffic;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// After one fault, before the next.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// Rests between faults, in which something is to be done by the clients.
const REST: Duration = Duration::from_millis(300);
/// Faults that have not bitten often enough get this share of the run's time on top.
const EXTRA_SHARE: f64 = 0.5;
const EXTRA_LEAST: Duration = Duration::from_secs(60);
/// After the last fault, every job must end, and every node agree, within this time.
const ENDED_WITHIN: Duration = Duration::from_secs(120);

/// Runs it.
///
/// # Errors
/// When the run itself was not possible; what the cluster did wrong is in the report.
pub async fn run(settings: Settings) -> Result<Report, Trouble> {
    let world = World::build(&settings)?;
    world.start_all();
    let supervisor = supervise(&world);
    world.healed(HEALED_WITHIN).await.map_err(|why| Trouble(format!("the cluster did not come up: {why}")))?;
    let wanted = world.traffic(settings.seed);
    let places = Some(wanted.places());
    let traffic = Arc::new(Traffic::start(wanted).await);
    let telling = tell_of_members(&world, &traffic);
    let tally = faults(&world, &settings).await;
    heal(&world).await;
    traffic.calm();
    telling.abort();
    let traffic = owned(traffic).await;
    let history = traffic.stop().await;
    world.say("checkers", "wait for every job to end, and read the history");
    let ending = Ending { endpoints: world.endpoints(), bound: ENDED_WITHIN, places };
    let verdict: Verdict = checkers::verify(&history, &ending).await;
    supervisor.abort();
    let mut violations = world.violations();
    violations.extend(world.panics());
    let residents = world.endpoints().into_keys().filter(|node| *node <= settings.nodes).collect();
    Ok(Report { settings, tally, verdict, violations, residents })
}

fn supervise(world: &Arc<World>) -> AbortHandle {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.supervise().await }).abort_handle()
}

/// Clients are told of every change of the membership at once.
fn tell_of_members(world: &Arc<World>, traffic: &Arc<Traffic>) -> AbortHandle {
    let mut endpoints = world.watch_endpoints();
    let traffic = Arc::downgrade(traffic);
    let telling = async move {
        while endpoints.changed().await.is_ok() {
            let Some(traffic) = traffic.upgrade() else { return };
            traffic.set_endpoints(endpoints.borrow().clone());
        }
    };
    tokio::spawn(telling).abort_handle()
}

/// The one who told it of members holds it for a moment at most.
async fn owned(mut traffic: Arc<Traffic>) -> Traffic {
    loop {
        match Arc::try_unwrap(traffic) {
            Ok(owned) => return owned,
            Err(shared) => traffic = shared,
        }
        tokio::task::yield_now().await;
    }
}

/// The plan for its time, and then what is missing.
async fn faults(world: &Arc<World>, settings: &Settings) -> Tally {
    let mut tally = Tally::new(&settings.nemeses, settings.minutes);
    let mut schedule = Schedule::new(&settings.nemeses, settings.seed);
    let lasts = Duration::from_secs_f64(settings.minutes * 60.0);
    let extra = lasts.mul_f64(EXTRA_SHARE).max(EXTRA_LEAST);
    let began = Instant::now();
    loop {
        let slot = if began.elapsed() < lasts {
            schedule.next()
        } else if began.elapsed() < lasts + extra {
            let missing = tally.missing().next();
            missing.map(|nemesis| schedule.alone(nemesis))
        } else {
            None
        };
        let Some(slot) = slot else { return tally };
        both(world, slot, &mut tally).await;
        if let Err(why) = world.healed(HEALED_WITHIN).await {
            world.violate(format!("the cluster did not heal after {slot:?}: {why}"));
            return tally;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn both(world: &Arc<World>, slot: Slot, tally: &mut Tally) {
    let (main, companion) = tokio::join!(one(world, slot.main, slot.seed), one(world, slot.companion, slot.seed ^ 1));
    for (nemesis, bite) in [main, companion].into_iter().flatten() {
        tally.note(nemesis, &bite);
    }
}

async fn one(world: &Arc<World>, nemesis: Option<Nemesis>, seed: u64) -> Option<(Nemesis, Result<String, String>)> {
    let nemesis = nemesis?;
    let mut random = StdRng::seed_from_u64(seed);
    let bite = nemesis.bite(world, &mut random).await;
    match &bite {
        Ok(seen) => world.say(nemesis.name(), seen),
        Err(why) => world.say(nemesis.name(), &format!("missed: {why}")),
    }
    Some((nemesis, bite))
}

/// Every fault is off, and everything runs.
async fn heal(world: &World) {
    world.mend();
    world.start_all();
    match world.healed(HEALED_WITHIN).await {
        Ok(()) => world.say("healed", "every node has caught up"),
        Err(why) => world.violate(format!("the cluster did not heal after the last fault: {why}")),
    }
}
