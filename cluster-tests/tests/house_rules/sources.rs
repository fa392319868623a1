//! How a source file looks: it says what it is for, stays short, and leaves nothing half done; and the machine stays pure.
//!
//! Rules about words look at tokens, not at text, so comments and string literals never count. The length of functions is
//! clippy's: this only makes sure that clippy is asked.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::{assert_no_complaints, assert_one_complaint, tree};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: i64 = 70;

/// Files longer than the limit, with the length they have: it may shrink, never grow.
const LONG_FILES: &[(&str, usize)] = &[];

/// What would make two nodes that apply the same log differ, or do anything but compute.
const IMPURE_WORDS: [&str; 22] = [
    "async", "await", "eprint", "eprintln", "print", "println", "dbg", "tokio", "rand", "Instant", "SystemTime", "HashMap",
    "HashSet", "RandomState", "Mutex", "RwLock", "OnceLock", "LazyLock", "Condvar", "thread_local", "File", "Command",
];
/// Modules of the standard library that the machine has no use for; of `time` it takes the length alone.
const IMPURE_MODULES: [&str; 7] = ["env", "fs", "io", "net", "os", "process", "thread"];
/// A command of our own is the machine's daily bread.
const OWN_WORDS: [&str; 1] = ["Command"];

/// The scenarios whose tests stand in this repository.
const SCENARIOS: [u32; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 20, 21, 22, 23, 24, 25, 29, 41];
