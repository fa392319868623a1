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
