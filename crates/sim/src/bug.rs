//! Bugs that a test plants around the machine, each of which the simulation must find: what is never caught proves nothing.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The leader books a late result under whatever attempt holds the lease now (S09, S14).
    ResultsOfAnyAttempt,
    /// The leader says of a lost worker's attempts that they write no more at once (S15).
    NoQuietTime,
    /// Nobody says that a store may carry out late what an attempt gave up: the clean-up is done before it comes.
    LateWritesIgnored,
    /// A worker writes while the leader takes its attempt for settled, so that nothing of it can come late.
    WritesWhileSettled,
    /// A worker goes on writing after its lease ended (S16).
    WorkerIgnoresLease,
    /// A worker counts its lease from the answer instead of from the heartbeat.
    LeaseFromAnswer,
    /// A leader renews leases without a confirmation of its leadership (S39).
    RenewsUnconfirmed,
    /// A new leader takes every worker for silent.
    NoLeaseFromNewLeader,
    /// An assignment is sent before it is committed (S13).
    AssignsBeforeCommit,
    /// A worker writes without looking whether its targets are free (S41).
    ClaimsBlindly,
    /// A worker acknowledges a drop while a write is in flight.
    AcknowledgesBeforeStop,
    /// A worker deletes what it wrote when its attempt is dropped (S15).
    DeletesOnDrop,
    /// A worker copies a source of the wrong length (S20).
    CopiesShortSources,
    /// The clean-up says that it is done before it has begun (S08).
    CleansUpNothing,
    /// A publication is reported before its metadata file is written.
    PublishesNothing,
    /// The clean-up of a publication says that it is done, and leaves the metadata file: the copies are deleted under it.
    KeepsMetadata,
    /// A verification says that everything is as it has to be, and looks at nothing.
    VerifiesNothing,
    /// A leader hands out ids that it has not reserved (S31).
    IdsWithoutReserve,
    /// Cluster time follows the leader's wall clock (S32).
    WallClockIsTime,
    /// Proposals of a deposed leader land (S31).
    DeposedLeaderCommits,
    /// A replica that restarts skips an entry.
    ReplicaSkipsEntry,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::ResultsOfAnyAttempt,
        Self::NoQuietTime,
        Self::LateWritesIgnored,
        Self::WritesWhileSettled,
        Self::WorkerIgnoresLease,
        Self::LeaseFromAnswer,
        Self::RenewsUnconfirmed,
        Self::NoLeaseFromNewLeader,
        Self::AssignsBeforeCommit,
        Self::ClaimsBlindly,
        Self::AcknowledgesBeforeStop,
        Self::DeletesOnDrop,
        Self::CopiesShortSources,
        Self::CleansUpNothing,
        Self::PublishesNothing,
        Self::KeepsMetadata,
        Self::VerifiesNothing,
        Self::IdsWithoutReserve,
        Self::WallClockIsTime,
        Self::DeposedLeaderCommits,
        Self::ReplicaSkipsEntry,
    ];
}
