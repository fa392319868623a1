//! Submits: a request becomes a checked job description and pages of mappings, or a refusal that changed nothing.

mod check;
mod choice;
mod copy;
mod hash;
mod members;
mod pages;
mod plan;
mod source;
#[cfg(test)]
mod tests;
mod warnings;

pub(crate) use check::{CheckedSubmit, check, check_header, check_ids, mapping, priority};
pub(crate) use members::Members;
pub(crate) use pages::{Known, PageError, PageHash, Pages, Submitted, known, submit};
pub(crate) use plan::{count_files, plan};
pub(crate) use source::{Sourced, read_source};
pub(crate) use warnings::{Look, Warnings};
