//! Reads the history of a run and says what contradicts the promises.
//!
//! Invariant: a checker is a function of the history alone and never complains about one that a correct cluster could
//! have made; what a client did not learn may have happened or not.
