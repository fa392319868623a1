//! Ids of rows; each kind is a type of its own, so that none is taken for another.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id!(
    /// A copy-segment job.
    JobId
);
id!(
    /// A task of a job; the tasks of one job have consecutive ids.
    TaskId
);
id!(
    /// A segment, of the source or of the target.
    SegmentId
);
id!(
    /// A worker, for as long as its name is in use.
    WorkerId
);

/// Which event: the log index of the entry that made it, which is its revision, and its place among the events of that
/// entry. Events have the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId {
    /// Log index of the entry.
    pub revision: u64,
    /// From zero.
    pub ordinal: u32,
}

impl EventId {
    /// Before every event.
    pub const FIRST: Self = Self { revision: 0, ordinal: 0 };
    /// Behind every event: no log grows that long.
    pub const END: Self = Self { revision: u64::MAX, ordinal: u32::MAX };

    /// The place of the first event of a revision, if it has any.
    #[must_use]
    pub fn at(revision: u64) -> Self {
        Self { revision, ordinal: 0 }
    }

    /// The least id behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.ordinal.checked_add(1) {
            Some(ordinal) => Self { ordinal, ..self },
            None => Self::at(self.revision.saturating_add(1)),
        }
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.revision, self.ordinal)
    }
}
