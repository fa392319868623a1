//! Workers that die, and workers that sleep through their lease and wake up in the middle of a copy.

use super::Bite;
use super::choice::{hold, one_of};
use crate::chaos::observation;
use crate::chaos::seat::Seat;
use crate::chaos::settings::BEYOND_LEASE;
use crate::chaos::world::World;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{Consistency, ListWorkersRequest, WorkerState};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// The cluster has this long to see that a lease has ended, a failover among it.
const LOST_WITHIN: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

fn choose<'a>(world: &'a World, random: &mut StdRng) -> Result<&'a Seat, String> {
    let seats: Vec<&Seat> = world.seats.iter().collect();
    one_of(&seats, random)
}

pub(super) async fn kill(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let seat = choose(world, random)?;
    let ran = seat.kill();
    hold(random, 200..5_000).await;
    seat.start(&world.endpoints());
    if ran { Ok(format!("{} was killed", seat.name())) } else { Err("the worker did not run".to_owned()) }
}

pub(super) async fn pause(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let seat = choose(world, random)?;
    seat.signal(Signal::SIGSTOP);
    tokio::time::sleep(BEYOND_LEASE).await;
    let began = Instant::now();
    let mut lost = false;
    while !lost && began.elapsed() < LOST_WITHIN {
        lost = is_lost(world, seat.name()).await;
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    seat.signal(Signal::SIGCONT);
    if lost { Ok(format!("the lease of {} ended", seat.name())) } else { Err("no lease ended".to_owned()) }
}

/// Whether the cluster has given a worker up.
async fn is_lost(world: &World, name: &str) -> bool {
    for address in world.endpoints().values() {
        let mut client = WorkerServiceClient::new(observation::channel(address, CALL_TIMEOUT));
        let request =
            ListWorkersRequest { page_size: 100, consistency: Consistency::Stale.into(), ..Default::default() };
        let Ok(answer) = client.list_workers(request).await else { continue };
        let workers = answer.into_inner().workers;
        if workers.iter().any(|worker| worker.name == name && worker.state() == WorkerState::Lost) {
            return true;
        }
    }
    false
}
