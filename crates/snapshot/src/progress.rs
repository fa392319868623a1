//! How far a long operation on a snapshot has come.

/// Files and bytes done, of how many. Totals may grow while more is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files done.
    pub files_done: u64,
    /// Files known.
    pub files_total: u64,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes known.
    pub bytes_total: u64,
}
