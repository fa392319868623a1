//! One run with a planted bug: it ends at the first contradiction, which the checkers look for while it goes on.

use crate::chaos::schedule::{Schedule, Slot};
use crate::chaos::settings::Settings;
use crate::chaos::trouble::Trouble;
use crate::chaos::world::World;
use crate::checkers::{self, Ending, Violation};
use crate::traffic::{self, History, Places, Traffic};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at the history.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A cluster that takes longer to heal has been caught at it.
const HEALED_WITHIN: Duration = Duration::from_secs(40);
/// After the faults every job must end within this time, in which a clean-up may have to wait for what a store does late.
const ENDED_WITHIN: Duration = Duration::from_secs(90);
/// More than in other runs, which last longer: some bugs bite one job in a hundred.
const JOBS_PER_SECOND: f64 = 5.0;
const OPERATIONS_PER_SECOND: f64 = 120.0;
/// Begins the line that says what was caught.
const CAUGHT: &str = "CAUGHT ";

/// The first contradiction of a run.
#[derive(Debug, Clone)]
pub struct Catch {
    checker: String,
    after: Duration,
    sentence: String,
}

impl Catch {
    fn new(checker: &str, began: Instant, sentence: &str) -> Self {
        let sentence = sentence.lines().next().unwrap_or_default().replace('|', "/");
        Self { checker: checker.to_owned(), after: began.elapsed(), sentence }
    }

    /// Says it so that `read` finds it.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { checker, after, sentence } = self;
        format!("{CAUGHT}{checker} | {:.0} s | {sentence}", after.as_secs_f64())
    }

    /// What a line says was caught, if it does.
    #[must_use]
    pub fn read(line: &str) -> Option<String> {
        line.strip_prefix(CAUGHT).map(str::to_owned)
    }
}

/// Runs the cluster under the settings' faults for their time at most; the first contradiction, if there is one.
///
/// # Errors
/// When the run itself was not possible.
pub async fn run(settings: &Settings) -> Result<Option<Catch>, Trouble> {
    let world = World::build(settings)?;
    let began = Instant::now();
    world.start_all();
    let supervising = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.supervise().await })
    };
    world.healed(HEALED_WITHIN).await.map_err(|why| Trouble(format!("the cluster did not come up: {why}")))?;
    let (jobs_per_second, operations_per_second) = (JOBS_PER_SECOND, OPERATIONS_PER_SECOND);
    let wanted = traffic::Settings { jobs_per_second, operations_per_second, ..world.traffic(settings.seed) };
    let places = wanted.places();
    let traffic = Traffic::start(wanted).await;
    let caught = tokio::select! {
        caught = watch(&world, &traffic, began) => Some(caught),
        caught = faults(&world, settings, began) => caught,
    };
    let caught = match caught {
        Some(caught) => Some(caught),
        None => at_the_end(&world, traffic, places, began).await,
    };
    supervising.abort();
    Ok(caught)
}

/// Looks at what was recorded, and at the processes, until something contradicts itself.
async fn watch(world: &World, traffic: &Traffic, began: Instant) -> Catch {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if let Some(sentence) = world.violations().first() {
            return Catch::new("processes", began, sentence);
        }
        if let Some(violation) = contradiction(traffic.history()).await {
            return Catch::new(violation.checker, began, &violation.sentence);
        }
    }
}

async fn contradiction(history: History) -> Option<Violation> {
    let checked = tokio::task::spawn_blocking(move || checkers::contradictions(&history));
    checked.await.expect("a checker does not panic").into_iter().next()
}

/// The plan for its time.
async fn faults(world: &Arc<World>, settings: &Settings, began: Instant) -> Option<Catch> {
    let lasts = Duration::from_secs_f64(settings.minutes * 60.0);
    for slot in Schedule::new(&settings.nemeses, settings.seed) {
        if began.elapsed() > lasts {
            break;
        }
        bite(world, slot).await;
        if let Err(why) = world.healed(HEALED_WITHIN).await {
            return Some(Catch::new("healing", began, &why));
        }
    }
    None
}

async fn bite(world: &Arc<World>, slot: Slot) {
    for nemesis in [slot.main, slot.companion].into_iter().flatten() {
        match nemesis.bite(world, &mut StdRng::seed_from_u64(slot.seed)).await {
            Ok(seen) => world.say(nemesis.name(), &seen),
            Err(why) => world.say(nemesis.name(), &format!("missed: {why}")),
        }
    }
}

/// Faults are off: everything must end, and what is only seen then must be right.
async fn at_the_end(world: &World, traffic: Traffic, places: Places, began: Instant) -> Option<Catch> {
    world.mend();
    world.start_all();
    if let Err(why) = world.healed(HEALED_WITHIN).await {
        return Some(Catch::new("healing", began, &why));
    }
    let history = traffic.stop().await;
    let ending = Ending { endpoints: world.endpoints(), bound: ENDED_WITHIN, places: Some(places) };
    let verdict = checkers::verify(&history, &ending).await;
    let process = world.violations().into_iter().next().map(|sentence| Catch::new("processes", began, &sentence));
    let first = verdict.violations.first();
    process.or_else(|| first.map(|violation| Catch::new(violation.checker, began, &violation.sentence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_says_it_caught_is_read_from_its_line_and_from_no_other() {
        let caught = Catch::new("ids", Instant::now(), "two | callers\nhave one id");
        assert_eq!(Catch::read(&caught.line()).as_deref(), Some("ids | 0 s | two / callers"));
        assert_eq!(Catch::read("   3.0 s  CAUGHT ids"), None);
    }
}
