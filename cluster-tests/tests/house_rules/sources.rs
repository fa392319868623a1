//! How a source file looks: it says what it is for, stays short, and leaves nothing half done; and the machine stays pure.
//!
//! Rules about words look at tokens, not at text, so comments and string literals never count. The length of functions is
//! clippy's: this only makes sure that clippy is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use toml::{Table, Value};

use crate::{assert_no_complaints, assert_one_complaint, tree};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: i64 = 70;

/// Files longer than the limit, with the length they have: it may shrink, never grow.
const LONG_FILES: &[(&str, usize)] = &[];

/// What would make two nodes that apply the same log differ, or do anything but compute.
const IMPURE_WORDS: [&str; 19] = [
    "async",
    "await",
    "print",
    "println",
    "eprint",
    "eprintln",
    "tokio",
    "rand",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "Mutex",
    "RwLock",
    "OnceLock",
    "LazyLock",
    "Condvar",
    "thread_local",
];
/// Modules of the standard library that reach out of the machine.
const IMPURE_MODULES: [&str; 7] = ["env", "fs", "io", "net", "os", "process", "thread"];

/// The scenarios whose tests stand in this repository.
const SCENARIOS: RangeInclusive<u32> = 1..=43;

/// The text of every source file, by its name.
fn sources(root: &Path) -> BTreeMap<String, String> {
    let files = tree::files_ending(root, ".rs").into_iter();
    files.map(|file| (file.clone(), tree::text(root, &file).unwrap_or_else(|| panic!("{file} is no text")))).collect()
}

fn parse(file: &str, text: &str) -> TokenStream {
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The tokens in a row, groups opened; literals, and so doc comments, are a placeholder.
fn words(tokens: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Punct(punct) => words.push(punct.as_char().to_string()),
            TokenTree::Literal(_) => words.push("literal".to_owned()),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                words.push(open.to_owned());
                words.extend(self::words(group.stream()));
                words.push(close.to_owned());
            }
        }
    }
    words
}

fn contains(words: &[String], sequence: &[&str]) -> bool {
    words.windows(sequence.len()).any(|window| window == sequence)
}

/// The words of every attribute, at any depth.
fn attributes(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut after_hash = false;
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            if after_hash && group.delimiter() == Delimiter::Bracket {
                found.push(words(group.stream()));
            }
            found.extend(attributes(group.stream()));
        }
        // The `!` of an inner attribute stands between.
        after_hash = match &token {
            TokenTree::Punct(punct) => punct.as_char() == '#' || (after_hash && punct.as_char() == '!'),
            _ => false,
        };
    }
    found
}

fn files_that_do_not_say_what_they_are_for(root: &Path) -> Vec<String> {
    let silent = |text: &str| {
        let first = text.lines().next().unwrap_or_default();
        !first.starts_with("//! ") || first.len() < "//! A few words.".len()
    };
    let files = sources(root).into_iter().filter(|(_, text)| silent(text));
    files.map(|(file, _)| format!("{file}: begin with a sentence that says what it is for (`//! ...`)")).collect()
}

fn files_that_grew(root: &Path, long_files: &[(&str, usize)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut open: BTreeMap<&str, usize> = long_files.iter().copied().collect();
    for (file, text) in sources(root) {
        let lines = text.lines().count();
        complaints.extend(match open.remove(file.as_str()) {
            None if lines > FILE_LINES_MAX => Some(format!("{file}: {lines} lines, {FILE_LINES_MAX} at most")),
            Some(known) if lines > known => Some(format!("{file}: grew from {known} to {lines} lines")),
            Some(known) if lines < known => Some(format!("{file}: shrank to {lines} lines: write that down")),
            Some(_) | None => None,
        });
    }
    complaints.extend(open.keys().map(|file| format!("{file}: is gone: take it off the list of long files")));
    complaints
}

fn work_left_half_done(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources(root) {
        let tokens = parse(&file, &text);
        for attribute in attributes(tokens.clone()) {
            if contains(&attribute, &["allow", "("]) {
                complaints.push(format!("{file}: `expect` a lint with a reason, do not `allow` it"));
            }
            if attribute.iter().any(|word| word == "ignore") {
                complaints.push(format!("{file}: a test runs or goes, it is not ignored"));
            }
        }
        let words = words(tokens);
        for unfinished in ["todo", "unimplemented"] {
            if contains(&words, &[unfinished, "!"]) {
                complaints.push(format!("{file}: {unfinished}!"));
            }
        }
    }
    complaints
}

/// The modules that follow `std::`, alone or in the braces of a `use`.
fn standard_modules(words: &[String]) -> BTreeSet<&str> {
    let mut modules = BTreeSet::new();
    for (index, _) in words.windows(3).enumerate().filter(|(_, window)| *window == ["std", ":", ":"]) {
        let rest = &words[index + 3..];
        if rest.first().is_none_or(|word| word != "{") {
            modules.extend(rest.first().map(String::as_str));
            continue;
        }
        let (mut depth, mut begins) = (0_usize, false);
        for word in rest {
            if depth == 1 && begins {
                modules.insert(word.as_str());
            }
            depth = match word.as_str() {
                "{" => depth + 1,
                "}" => depth - 1,
                _ => depth,
            };
            begins = word == "," || word == "{";
            if depth == 0 {
                break;
            }
        }
    }
    modules
}

fn impurities_of_the_machine(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources(root).into_iter().filter(|(file, _)| file.starts_with("crates/machine/src/")) {
        let words = words(parse(&file, &text));
        let impure = IMPURE_WORDS.iter().filter(|impure| words.iter().any(|word| word == *impure));
        complaints.extend(impure.map(|word| format!("{file}: {word}")));
        let modules = standard_modules(&words);
        let impure = IMPURE_MODULES.iter().filter(|module| modules.contains(**module));
        complaints.extend(impure.map(|module| format!("{file}: std::{module}")));
    }
    complaints
}

fn function_length_that_nobody_checks(root: &Path) -> Vec<String> {
    let toml =
        |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default().parse::<Table>().unwrap_or_default();
    let mut complaints = Vec::new();
    for file in [".clippy.toml", "crates/machine/.clippy.toml"] {
        if toml(file).get("too-many-lines-threshold").and_then(Value::as_integer) != Some(FUNCTION_LINES_MAX) {
            complaints.push(format!("{file}: a function has at most {FUNCTION_LINES_MAX} lines"));
        }
    }
    let workspace = toml("Cargo.toml");
    let lint = ["workspace", "lints", "clippy", "too_many_lines"]
        .iter()
        .try_fold(&Value::Table(workspace), |at, key| at.get(key))
        .cloned();
    if lint.as_ref().and_then(Value::as_str) != Some("warn") {
        complaints.push("Cargo.toml: the lint too_many_lines is off".to_owned());
    }
    complaints
}

fn scenarios_without_a_test(root: &Path) -> Vec<String> {
    let tests: BTreeSet<String> = sources(root)
        .iter()
        .flat_map(|(file, text)| {
            let words = words(parse(file, text));
            words.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1].clone()).collect::<Vec<_>>()
        })
        .collect();
    let untested = SCENARIOS
        .map(|number| format!("s{number:02}_"))
        .filter(|prefix| !tests.iter().any(|test| test.starts_with(prefix)));
    untested.map(|prefix| format!("no test is named {prefix}...")).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_no_complaints(&files_that_do_not_say_what_they_are_for(&tree::root()));
}

#[test]
fn files_stay_short() {
    assert_no_complaints(&files_that_grew(&tree::root(), LONG_FILES));
}

#[test]
fn nothing_is_left_half_done() {
    assert_no_complaints(&work_left_half_done(&tree::root()));
}

#[test]
fn the_machine_mentions_no_clock_environment_thread_hash_or_future() {
    assert_no_complaints(&impurities_of_the_machine(&tree::root()));
}

#[test]
fn clippy_holds_functions_to_their_length() {
    assert_no_complaints(&function_length_that_nobody_checks(&tree::root()));
}

#[test]
fn every_scenario_has_its_test() {
    assert_no_complaints(&scenarios_without_a_test(&tree::root()));
}

/// A repository of one source file of the machine.
fn machine(text: &str) -> tempfile::TempDir {
    tree::repository_of(&[("crates/machine/src/lib.rs", text)])
}

#[test]
fn a_silent_file_is_noticed() {
    assert_one_complaint(&files_that_do_not_say_what_they_are_for(machine("use a;\n//! Late.\n").path()), "lib.rs");
    assert_one_complaint(&files_that_do_not_say_what_they_are_for(machine("").path()), "lib.rs");
}

#[test]
fn a_long_file_is_noticed_and_a_listed_one_may_only_shrink() {
    let file = "crates/machine/src/lib.rs";
    let root = machine(&"//! Long.\n".repeat(401));
    assert_one_complaint(&files_that_grew(root.path(), &[]), "401 lines, 400 at most");
    assert_one_complaint(&files_that_grew(root.path(), &[(file, 400)]), "grew from 400 to 401");
    assert_one_complaint(&files_that_grew(root.path(), &[(file, 500)]), "shrank to 401");
    assert_one_complaint(&files_that_grew(root.path(), &[(file, 401), ("gone.rs", 500)]), "gone.rs: is gone");
    assert_no_complaints(&files_that_grew(root.path(), &[(file, 401)]));
}

#[test]
fn half_done_work_is_noticed_in_code_but_not_in_comments_and_strings() {
    let bad = [
        "#![allow(dead_code)]",
        "#[cfg_attr(test, allow(dead_code))] fn f() {}",
        "fn f() { #[allow(dead_code)] let a = 1; }",
        "#[ignore] fn f() {}",
        "#[ignore = \"slow\"] fn f() {}",
        "fn f() { todo!() }",
        "fn f() { unimplemented!(\"later\") }",
    ];
    for text in bad {
        assert_eq!(work_left_half_done(machine(text).path()).len(), 1, "{text}");
    }
    let good = "/// `#[allow(dead_code)]` and `todo!()`\nfn f() { g(\"todo!() #[ignore]\"); /* todo!() */ allow(1); }";
    assert_no_complaints(&work_left_half_done(machine(good).path()));
}

#[test]
fn an_impure_machine_is_noticed_in_code_but_not_in_comments_and_strings() {
    let bad = [
        "fn f() { let now = std::time::Instant::now(); }",
        "use std::time::SystemTime;",
        "use std::{collections::BTreeMap, env};",
        "use std::{fs::{self}, fmt};",
        "fn f() { ::std::thread::yield_now(); }",
        "use std::collections::HashMap;",
        "async fn f() {}",
        "fn f() { println!(\"done\"); }",
    ];
    for text in bad {
        assert_eq!(impurities_of_the_machine(machine(text).path()).len(), 1, "{text}");
    }
    let good = "//! No HashMap, no async.\nuse std::{collections::BTreeMap, fmt::{self, env}, time::Duration};\nfn f() { g(\"println HashMap\"); env.fs(); }";
    assert_no_complaints(&impurities_of_the_machine(machine(good).path()));
}

#[test]
fn lints_and_scenario_tests_that_are_missing_are_noticed() {
    let root = tree::repository_of(&[
        (".clippy.toml", "too-many-lines-threshold = 70"),
        ("crates/machine/.clippy.toml", "too-many-lines-threshold = 71"),
        ("Cargo.toml", "[workspace.lints.clippy]\ntoo_many_lines = \"warn\"\n"),
        ("a.rs", "fn s01_crash() {}"),
    ]);
    assert_one_complaint(&function_length_that_nobody_checks(root.path()), "crates/machine/.clippy.toml");
    let untested = scenarios_without_a_test(root.path());
    assert_eq!(untested.len(), SCENARIOS.count() - 1, "{untested:?}");
    assert_eq!(function_length_that_nobody_checks(machine("").path()).len(), 3);
}
