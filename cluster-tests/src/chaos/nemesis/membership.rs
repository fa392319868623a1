//! Nodes come and go under load: a wiped one comes back as another, three become five, five become three.

use super::Bite;
use super::choice::{blocking, follower, hold, id, one_of};
use crate::chaos::machine::Machine;
use crate::chaos::observation::{self, Seen};
use crate::chaos::world::World;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::{AddNodeRequest, RemoveNodeRequest};
use rand::rngs::StdRng;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::Channel;

/// A change of the membership must be done within this time, faults beside it or not.
const CHANGE_WITHIN: Duration = Duration::from_secs(40);
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const FEWEST: usize = 3;
const MOST: usize = 5;

pub(super) async fn wipe(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = follower(world, random).await?;
    let old = id(&home);
    leave(world, &home).await?;
    hold(random, 0..1_000).await;
    let new = join(world, &home).await?;
    Ok(format!("node {old} was removed with all it knew, and came back as node {new}"))
}

pub(super) async fn resize(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let before = world.homes().len();
    if before >= MOST {
        for _ in FEWEST..before {
            let home = one_of(&world.homes(), random)?;
            leave(world, &home).await?;
        }
    } else {
        for _ in before..MOST {
            let home = world.vacancy().ok_or("every machine has a node")?;
            join(world, &home).await?;
        }
    }
    Ok(format!("{before} nodes became {}", world.homes().len()))
}

/// A new node moves in and gets its vote.
async fn join(world: &World, home: &Arc<Machine>) -> Result<u64, String> {
    let node_id = world.new_id();
    home.settle(node_id);
    world.start(home);
    let address = home.address(node_id);
    let request = AddNodeRequest { node_id, address: address.clone() };
    ask_leader(world, |mut client| {
        let request = request.clone();
        async move { client.add_node(request).await.map(drop) }
    })
    .await?;
    let votes = |seen: &[Seen]| seen.iter().find(|node| node.id == node_id && !node.learns).map(drop);
    world.until("vote of the new node", CHANGE_WITHIN, votes).await?;
    world.change_endpoints(|endpoints| drop(endpoints.insert(node_id, address)));
    Ok(node_id)
}

/// A node is removed from the cluster, and then from its machine.
async fn leave(world: &World, home: &Arc<Machine>) -> Result<(), String> {
    let node_id = id(home);
    world.change_endpoints(|endpoints| drop(endpoints.remove(&node_id)));
    let removed = ask_leader(world, |mut client| async move {
        match client.remove_node(RemoveNodeRequest { node_id }).await {
            // A call whose answer was lost is repeated.
            Err(status) if status.message().contains("is no node of this cluster") => Ok(()),
            answer => answer.map(drop),
        }
    });
    if let Err(why) = removed.await {
        // It stays, as far as anybody knows.
        world.change_endpoints(|endpoints| drop(endpoints.insert(node_id, home.address(node_id))));
        return Err(why);
    }
    let gone = |seen: &[Seen]| {
        let leader = observation::leader(seen)?;
        let members = &seen.iter().find(|node| node.id == leader.id)?.members;
        (!members.contains(&node_id)).then_some(())
    };
    world.until("cluster without the node", CHANGE_WITHIN, gone).await?;
    let home = Arc::clone(home);
    blocking(move || home.wipe()).await?.map_err(|trouble| trouble.to_string())
}

/// Asks the leader until it has done it.
async fn ask_leader<F>(world: &World, ask: impl Fn(ClusterServiceClient<Channel>) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), Status>>,
{
    let began = Instant::now();
    loop {
        let leader = world.leader().await?;
        let address = world.home(leader.id)?.address(leader.id);
        let client = ClusterServiceClient::new(observation::channel(&address, CALL_TIMEOUT));
        match ask(client).await {
            Ok(()) => return Ok(()),
            Err(status) if began.elapsed() > CHANGE_WITHIN => {
                return Err(format!("not within {CHANGE_WITHIN:?}: {status}"));
            }
            Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
        }
    }
}
