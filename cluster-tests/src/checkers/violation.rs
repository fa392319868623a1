//! A contradiction: one sentence, and the operations that make it.

use crate::traffic::history::Operation;
use std::fmt;

/// A promise that a history shows to be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub checker: &'static str,
    /// What is wrong.
    pub sentence: String,
    /// The operations that contradict each other, quoted.
    pub operations: Vec<String>,
    /// When the later of them ended; the first contradiction of a run is the one with the smallest.
    pub at_us: u64,
}

impl Violation {
    pub(crate) fn new(checker: &'static str, sentence: String, operations: &[&Operation]) -> Self {
        Self {
            checker,
            sentence,
            operations: operations.iter().map(ToString::to_string).collect(),
            at_us: operations.iter().map(|operation| operation.returned_us).max().unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.checker, self.sentence)?;
        for operation in &self.operations {
            write!(formatter, "\n    {operation}")?;
        }
        Ok(())
    }
}
