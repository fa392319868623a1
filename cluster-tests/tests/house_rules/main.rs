//! The house rules as tests: each rule lists what breaks it, and the list must be empty.
//!
//! A rule is a function from the root of a repository to complaints, so that beside the test that holds the rule against
//! this repository there is one that shows it a small repository which breaks it: a rule that can no longer see anything
//! fails as loudly as one that is broken.

mod dependencies;
mod protos;
mod repository;
mod sources;
mod tree;

/// Fails with one complaint a line.
#[track_caller]
fn assert_no_complaints(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

/// Fails unless there is exactly one complaint, and it says `expected`.
#[track_caller]
fn assert_one_complaint(complaints: &[String], expected: &str) {
    assert!(complaints.len() == 1 && complaints[0].contains(expected), "expected: {expected}\n got: {complaints:#?}");
}
