//! The faults, each of which says by what it was seen to bite.
//!
//! Invariant: a fault has undone itself when it returns, whether it bit or not, and while it lasts a majority of the
//! voters keeps what it has synced.

mod checkpoint;
mod choice;
mod clock;
mod disk;
mod kill;
mod membership;
mod orderly;
mod partition;
mod pause;
mod power;
mod quality;
mod store;
mod sync;
mod worker;

use super::world::World;
use crate::faults::{disk as disk_tools, shim};
use rand::rngs::StdRng;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What was seen, or why nothing was.
pub(crate) type Bite = Result<String, String>;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nemesis {
    /// SIGKILL for a node that does not lead.
    KillFollower,
    /// SIGKILL for the leader.
    KillLeader,
    /// SIGKILL for every node at once.
    KillAll,
    /// SIGSTOP for the leader until another one leads.
    PauseLeader,
    /// SIGSTOP for a node that does not lead.
    PauseFollower,
    /// The leader hears no other node and no other node hears it.
    PartitionLeader,
    /// The same for another node.
    PartitionFollower,
    /// Packets of one node reach another one, but not the other way round.
    PartitionOneWay,
    /// Two sides that do not hear each other, and one node that hears both.
    PartitionBridge,
    /// The leader's links come and go.
    PartitionFlapping,
    /// Clients do not reach the leader; nodes hear each other.
    PartitionClients,
    /// Every packet between nodes is late.
    Delay,
    /// Packets are lost.
    Loss,
    /// Packets arrive twice.
    Duplicate,
    /// Packets overtake each other.
    Reorder,
    /// A node's syncs are slow.
    SlowSync,
    /// A node's syncs fail.
    FailingSync,
    /// A node's disk is full.
    DiskFull,
    /// A node's disk hangs.
    FrozenDisk,
    /// A machine loses power, and what was not synced.
    PowerLoss,
    /// All of them do at once.
    PowerLossAll,
    /// Wall clocks jump by thirty days.
    ClockJump,
    /// A node loses everything, is removed, and comes back as another one.
    Wipe,
    /// Three nodes become five, five become three.
    Resize,
    /// A node is down until the others have no log for it any more.
    CheckpointInstall,
    /// SIGKILL for a worker.
    KillWorker,
    /// SIGSTOP for a worker, longer than its lease.
    PauseWorker,
    /// The leadership is handed to another node.
    Transfer,
    /// SIGTERM for a node, which is started again.
    Restart,
    /// Connections to the store end in the middle of something.
    StoreCuts,
    /// The store is silent.
    StoreSilence,
    /// The store carries requests out after their callers are gone.
    StoreLateWrites,
}

/// Every fault, its name, and what it needs of the system beside namespaces and disks.
const NAMES: [(Nemesis, &str, &[&str]); 32] = [
    (Nemesis::KillFollower, "kill-follower", &[]),
    (Nemesis::KillLeader, "kill-leader", &[]),
    (Nemesis::KillAll, "kill-all", &[]),
    (Nemesis::PauseLeader, "pause-leader", &[]),
    (Nemesis::PauseFollower, "pause-follower", &[]),
    (Nemesis::PartitionLeader, "partition-leader", &[]),
    (Nemesis::PartitionFollower, "partition-follower", &[]),
    (Nemesis::PartitionOneWay, "partition-one-way", &[]),
    (Nemesis::PartitionBridge, "partition-bridge", &[]),
    (Nemesis::PartitionFlapping, "partition-flapping", &[]),
    (Nemesis::PartitionClients, "partition-clients", &[]),
    (Nemesis::Delay, "delay", &[]),
    (Nemesis::Loss, "loss", &[]),
    (Nemesis::Duplicate, "duplicate", &[]),
    (Nemesis::Reorder, "reorder", &[]),
    (Nemesis::SlowSync, "slow-sync", shim::TOOLS),
    (Nemesis::FailingSync, "failing-sync", shim::TOOLS),
    (Nemesis::DiskFull, "disk-full", disk_tools::TOOLS),
    (Nemesis::FrozenDisk, "frozen-disk", disk_tools::FREEZE_TOOLS),
    (Nemesis::PowerLoss, "power-loss", disk_tools::POWER_LOSS_TOOLS),
    (Nemesis::PowerLossAll, "power-loss-all", disk_tools::POWER_LOSS_TOOLS),
    (Nemesis::ClockJump, "clock-jump", shim::TOOLS),
    (Nemesis::Wipe, "wipe", &[]),
    (Nemesis::Resize, "resize", &[]),
    (Nemesis::CheckpointInstall, "checkpoint-install", &[]),
    (Nemesis::KillWorker, "kill-worker", &[]),
    (Nemesis::PauseWorker, "pause-worker", &[]),
    (Nemesis::Transfer, "transfer", &[]),
    (Nemesis::Restart, "restart", &[]),
    (Nemesis::StoreCuts, "store-cuts", &[]),
    (Nemesis::StoreSilence, "store-silence", &[]),
    (Nemesis::StoreLateWrites, "store-late-writes", &[]),
];

impl Nemesis {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(nemesis, ..)| nemesis)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The tools it needs.
    #[must_use]
    pub fn tools(self) -> &'static [&'static str] {
        self.entry().2
    }

    /// Whether there is nothing to do it to in a run without a store.
    #[must_use]
    pub fn needs_store(self) -> bool {
        matches!(self, Self::StoreCuts | Self::StoreSilence | Self::StoreLateWrites)
    }

    fn entry(self) -> (Self, &'static str, &'static [&'static str]) {
        NAMES.into_iter().find(|(nemesis, ..)| *nemesis == self).expect("every fault has a name")
    }

    /// Whether it takes no node away, so that it may go on beside any other.
    #[must_use]
    pub fn is_companion(self) -> bool {
        match self {
            Self::Delay
            | Self::Loss
            | Self::Duplicate
            | Self::Reorder
            | Self::SlowSync
            | Self::ClockJump
            | Self::KillWorker
            | Self::PauseWorker
            | Self::StoreCuts
            | Self::StoreSilence
            | Self::StoreLateWrites => true,
            Self::KillFollower
            | Self::KillLeader
            | Self::KillAll
            | Self::PauseLeader
            | Self::PauseFollower
            | Self::PartitionLeader
            | Self::PartitionFollower
            | Self::PartitionOneWay
            | Self::PartitionBridge
            | Self::PartitionFlapping
            | Self::PartitionClients
            | Self::FailingSync
            | Self::DiskFull
            | Self::FrozenDisk
            | Self::PowerLoss
            | Self::PowerLossAll
            | Self::Wipe
            | Self::Resize
            | Self::CheckpointInstall
            | Self::Transfer
            | Self::Restart => false,
        }
    }

    /// Does it, and undoes it.
    pub(crate) async fn bite(self, world: &Arc<World>, random: &mut StdRng) -> Bite {
        match self {
            Self::KillFollower => kill::follower(world, random).await,
            Self::KillLeader => kill::leader(world, random).await,
            Self::KillAll => kill::all(world).await,
            Self::PauseLeader => pause::leader(world, random).await,
            Self::PauseFollower => pause::follower(world, random).await,
            Self::PartitionLeader => partition::leader(world, random).await,
            Self::PartitionFollower => partition::follower(world, random).await,
            Self::PartitionOneWay => partition::one_way(world, random).await,
            Self::PartitionBridge => partition::bridge(world, random).await,
            Self::PartitionFlapping => partition::flapping(world, random).await,
            Self::PartitionClients => partition::clients(world, random).await,
            Self::Delay => quality::delay(world, random).await,
            Self::Loss => quality::loss(world, random).await,
            Self::Duplicate => quality::duplicate(world, random).await,
            Self::Reorder => quality::reorder(world, random).await,
            Self::SlowSync => sync::slow(world, random).await,
            Self::FailingSync => sync::failing(world, random).await,
            Self::DiskFull => disk::full(world, random).await,
            Self::FrozenDisk => disk::frozen(world, random).await,
            Self::PowerLoss => power::one(world, random).await,
            Self::PowerLossAll => power::all(world).await,
            Self::ClockJump => clock::jump(world, random).await,
            Self::Wipe => membership::wipe(world, random).await,
            Self::Resize => membership::resize(world, random).await,
            Self::CheckpointInstall => checkpoint::install(world, random).await,
            Self::KillWorker => worker::kill(world, random).await,
            Self::PauseWorker => worker::pause(world, random).await,
            Self::Transfer => orderly::transfer(world, random).await,
            Self::Restart => orderly::restart(world, random).await,
            Self::StoreCuts => store::cuts(world, random).await,
            Self::StoreSilence => store::silence(world, random).await,
            Self::StoreLateWrites => store::late_writes(world, random).await,
        }
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Nemesis {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::all().find(|nemesis| nemesis.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            format!("there is no fault `{name}`; there are {}", names.join(", "))
        })
    }
}
