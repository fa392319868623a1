//! What operators do on purpose: hand the leadership over, and restart nodes.

use super::Bite;
use super::choice::{anyone, blocking, follower, hold, id};
use crate::chaos::observation;
use crate::chaos::world::World;
use ferry_proto::v1::TransferLeadershipRequest;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;

const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// A node that is asked to end hands over, lets calls finish, and has ended by then.
const END_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn transfer(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let before = world.leader().await?;
    let node_id = id(&*follower(world, random).await?);
    let address = world.home(before.id)?.address(before.id);
    let mut client = ClusterServiceClient::new(observation::channel(&address, CALL_TIMEOUT));
    let answer = client.transfer_leadership(TransferLeadershipRequest { node_id }).await;
    let after = world.leader_after(before.term).await;
    let answer = answer.map_err(|status| format!("refused: {status}"))?.into_inner();
    let after = after?;
    Ok(format!("from node {} to node {}; node {} leads term {}", before.id, answer.leader_id, after.id, after.term))
}

pub(super) async fn restart(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    let node_id = id(&home);
    let status = {
        let home = Arc::clone(&home);
        blocking(move || home.terminate(END_WITHIN)).await?
    };
    hold(random, 0..1_500).await;
    world.start(&home);
    match status {
        Some(status) if status.success() => {}
        Some(status) => world.violate(format!("node {node_id} was asked to end and ended with {status}")),
        None => world.violate(format!("node {node_id} was asked to end and had not ended after {END_WITHIN:?}")),
    }
    Ok(format!("node {node_id} was asked to end: {status:?}"))
}
