//! Who may know whom: the arrows between our crates only go down, and what is delicate is known to one crate alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::{assert_no_complaints, assert_one_complaint, tree};

/// Each crate and the crates of ours that it may know; it may know fewer.
const KNOWS: [(&str, &[&str]); 13] = [
    ("planted", &[]),
    ("machine", &[]),
    ("proto", &[]),
    ("store", &["machine", "proto"]),
    ("raft", &["machine", "proto", "store"]),
    ("client", &["proto"]),
    ("sim", &["machine"]),
    ("objects", &[]),
    ("snapshot", &["objects"]),
    ("worker", &["proto", "client", "objects", "snapshot"]),
    ("server", &["machine", "proto", "store", "raft", "objects", "snapshot"]),
    // The output of the commands is the wire's own messages as JSON, so the cli names their types.
    ("cli", &["server", "worker", "client", "objects", "snapshot", "proto"]),
    ("bench", &["client", "proto"]),
];

/// What any crate may know: without its feature it is empty.
const KNOWN_TO_ALL: &str = "planted";

/// The map for newcomers, whose table of crates says the same.
const MAP: &str = "ARCHITECTURE.md";

/// Cluster tests drive processes through the client, and name the messages it takes.
const CLUSTER_TESTS_KNOW: &[&str] = &["client", "proto"];

/// What only one of our crates may depend on.
const KNOWN_TO_ONE: [(&str, &str); 2] = [("openraft", "raft"), ("rocksdb", "store")];

/// The machine is pure: nothing it is built from can reach a clock, a file or a thread.
const MACHINE_DEPENDS_ON: &[&str] = &["ferry-planted", "thiserror"];

/// A feature that a crate may have for the tests of others; what it needs is optional, and no product is built with it.
const FEATURE_OF_TESTS: &str = "testing";

/// The feature that puts bugs into the binary: chosen on the command line alone.
const FEATURE_OF_BUGS: &str = "planted-bugs";

/// Names that say nothing about what belongs there, so everything ends there.
const NAMES_WITHOUT_MEANING: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// The dependencies of one of our packages, by the names the registry knows them by.
struct Package {
    /// The folder's name: `raft` for `ferry-raft`.
    name: String,
    /// What the product is built from.
    normal: BTreeSet<String>,
    /// What its tests need on top.
    dev: BTreeSet<String>,
}

impl Package {
    fn ours(dependencies: &BTreeSet<String>) -> impl Iterator<Item = &str> {
        dependencies.iter().filter_map(|name| name.strip_prefix("ferry-"))
    }
}

fn manifest(root: &Path, folder: &str) -> Table {
    let file = if folder.is_empty() { "Cargo.toml".to_owned() } else { format!("{folder}/Cargo.toml") };
    let text = tree::text(root, &file).expect("a manifest is text");
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The folders of all packages, `crates/*` and the cluster tests.
fn package_folders(root: &Path) -> Vec<String> {
    let crates = tree::folders(&root.join("crates")).into_iter().map(|name| format!("crates/{name}"));
    crates.chain(["cluster-tests".to_owned()]).filter(|folder| root.join(folder).join("Cargo.toml").exists()).collect()
}

/// The tables of one kind of dependency in a manifest, those for one platform among them.
fn dependency_tables<'a>(manifest: &'a Table, kind: &'a str) -> impl Iterator<Item = &'a Table> {
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let sections = std::iter::once(manifest).chain(platforms.filter_map(Value::as_table));
    sections.filter_map(move |section| section.get(kind).and_then(Value::as_table))
}

/// The names in the tables of these kinds, renamed ones by their own.
fn dependencies(workspace: &Table, manifest: &Table, kinds: &[&str]) -> BTreeSet<String> {
    let versions = workspace["workspace"].get("dependencies").and_then(Value::as_table);
    let own_name = |entry: Option<&Value>| Some(entry?.get("package")?.as_str()?.to_owned());
    let tables = kinds.iter().flat_map(|kind| dependency_tables(manifest, kind));
    tables
        .flatten()
        .map(|(name, entry)| {
            let shared = versions.and_then(|versions| versions.get(name));
            own_name(Some(entry)).or_else(|| own_name(shared)).unwrap_or_else(|| name.clone())
        })
        .collect()
}

fn packages(root: &Path) -> Vec<Package> {
    let workspace = manifest(root, "");
    let package = |folder: &String| {
        let manifest = manifest(root, folder);
        Package {
            name: folder.trim_start_matches("crates/").to_owned(),
            normal: dependencies(&workspace, &manifest, &["dependencies", "build-dependencies"]),
            dev: dependencies(&workspace, &manifest, &["dev-dependencies"]),
        }
    };
    package_folders(root).iter().map(package).collect()
}

fn may_know(name: &str) -> Option<&'static [&'static str]> {
    if name == "cluster-tests" {
        return Some(CLUSTER_TESTS_KNOW);
    }
    KNOWS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, known)| *known)
}

/// What the map for newcomers says of each crate: a table's row whose first cell is the crate, whose last whom it knows.
fn errors_on_the_map(root: &Path) -> Vec<String> {
    let Ok(map) = fs::read_to_string(root.join(MAP)) else { return vec![format!("{MAP} is gone")] };
    let rows: BTreeMap<&str, &str> = map
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.trim_end().strip_suffix('|'))
        .filter_map(|row| Some((row.split('|').next()?.trim().trim_matches('`'), row.rsplit('|').next()?.trim())))
        .collect();
    let error = |name: &String| {
        let Some(cell) = rows.get(name.as_str()) else { return Some(format!("{MAP}: no row for the crate {name}")) };
        let told: BTreeSet<&str> = cell.split(", ").filter(|known| *known != "nothing").collect();
        let known = may_know(name)?.iter().copied().collect();
        (told != known).then(|| format!("{MAP}: {name} knows {known:?}, not {told:?}"))
    };
    tree::folders(&root.join("crates")).iter().filter_map(error).collect()
}

fn arrows_that_do_not_go_down(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages(root) {
        let Some(allowed) = may_know(&package.name) else {
            complaints.push(format!("crates/{} is not in the table of crates: give it its place there", package.name));
            continue;
        };
        let may = |known: &str| allowed.contains(&known) || known == KNOWN_TO_ALL;
        let forbidden = Package::ours(&package.normal).filter(|known| !may(known));
        complaints.extend(forbidden.map(|known| format!("{} must not know {known}", package.name)));
    }
    complaints
}

/// The crates that can reach themselves, tests' dependencies included: cargo takes a cycle through those.
fn cycles(root: &Path) -> Vec<String> {
    let arrows: BTreeMap<String, BTreeSet<String>> = packages(root)
        .into_iter()
        .map(|package| {
            let all = package.normal.union(&package.dev).cloned().collect();
            let ours = Package::ours(&all).map(str::to_owned).collect();
            (package.name, ours)
        })
        .collect();
    let reaches_itself = |start: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(name) = open.pop() {
            open.extend(arrows.get(name).into_iter().flatten().filter(|known| seen.insert(*known)));
        }
        seen.contains(start)
    };
    arrows.keys().filter(|name| reaches_itself(name)).map(|name| format!("{name} knows itself by a detour")).collect()
}

fn delicate_things_known_to_others(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages(root) {
        for (dependency, owner) in KNOWN_TO_ONE {
            if package.name != owner && (package.normal.contains(dependency) || package.dev.contains(dependency)) {
                complaints.push(format!("{} must not depend on {dependency}: {owner} alone knows it", package.name));
            }
        }
        if package.normal.contains("cluster-tests") || package.dev.contains("cluster-tests") {
            complaints.push(format!("{} must not depend on the cluster tests", package.name));
        }
    }
    complaints
}

/// The strings of a manifest's list, of features for example.
fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn impure_dependencies_of_the_machine(root: &Path) -> Vec<String> {
    let machine = packages(root).into_iter().find(|package| package.name == "machine").expect("there is a machine");
    let manifest = manifest(root, "crates/machine");
    let for_tests = manifest.get("features").and_then(|features| features.get(FEATURE_OF_TESTS));
    let for_tests: BTreeSet<&str> = strings(for_tests).filter_map(|needed| needed.strip_prefix("dep:")).collect();
    let allowed = |name: &str| MACHINE_DEPENDS_ON.contains(&name) || for_tests.contains(name);
    let foreign = machine.normal.iter().filter(|name| !allowed(name));
    foreign.map(|name| format!("the machine must not depend on {name}")).collect()
}

/// The crates whose product would be built with what only tests need.
fn products_with_the_feature_of_tests(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for folder in package_folders(root) {
        let manifest = manifest(root, &folder);
        let defaults = strings(manifest.get("features").and_then(|features| features.get("default")));
        let tables =
            ["dependencies", "build-dependencies"].into_iter().flat_map(|kind| dependency_tables(&manifest, kind));
        let chosen = tables.flatten().filter(|(name, _)| name.starts_with("ferry-"));
        let chosen = chosen.flat_map(|(_, entry)| strings(entry.get("features")));
        for feature in defaults.chain(chosen).filter(|feature| [FEATURE_OF_TESTS, FEATURE_OF_BUGS].contains(feature)) {
            complaints.push(format!("{folder}: the feature `{feature}` is for tests alone"));
        }
    }
    complaints
}

fn names_without_meaning(root: &Path) -> Vec<String> {
    let modules = tree::files_ending(root, ".rs").into_iter();
    let stems = modules.map(|file| (file.trim_end_matches("/mod.rs").trim_end_matches(".rs").to_owned(), file));
    let crates = tree::folders(&root.join("crates")).into_iter().map(|name| (name.clone(), format!("crates/{name}")));
    let unclear = |stem: &str| NAMES_WITHOUT_MEANING.contains(&stem.rsplit('/').next().unwrap_or(stem));
    crates
        .chain(stems)
        .filter(|(stem, _)| unclear(stem))
        .map(|(_, path)| format!("{path}: name what it is for"))
        .collect()
}

/// Versions and lints are chosen once, in the workspace; what nobody uses goes.
fn manifests_on_their_own(root: &Path) -> Vec<String> {
    let workspace = manifest(root, "");
    let mut unused: BTreeSet<&str> = workspace["workspace"]["dependencies"]
        .as_table()
        .into_iter()
        .flat_map(|table| table.keys().map(String::as_str))
        .collect();
    let mut complaints = Vec::new();
    for folder in package_folders(root) {
        let manifest = manifest(root, &folder);
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(Value::as_bool) != Some(true) {
            complaints.push(format!("{folder}: take the workspace's lints"));
        }
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, entry) in dependency_tables(&manifest, kind).flatten() {
                unused.remove(name.as_str());
                if entry.get("workspace").and_then(Value::as_bool) != Some(true) {
                    complaints.push(format!("{folder}: {name} takes its version from the workspace"));
                }
            }
        }
    }
    complaints.extend(unused.iter().map(|name| format!("Cargo.toml: no crate uses {name}")));
    complaints
}

#[test]
fn each_crate_knows_only_those_below_it() {
    assert_no_complaints(&arrows_that_do_not_go_down(&tree::root()));
}

#[test]
fn the_architecture_says_of_each_crate_whom_it_may_know() {
    assert_no_complaints(&errors_on_the_map(&tree::root()));
}

#[test]
fn no_crate_knows_itself_by_a_detour() {
    assert_no_complaints(&cycles(&tree::root()));
}

#[test]
fn openraft_and_rocksdb_are_known_to_one_crate_each_and_the_cluster_tests_to_none() {
    assert_no_complaints(&delicate_things_known_to_others(&tree::root()));
}

#[test]
fn the_machine_depends_on_nothing_that_could_make_it_impure() {
    assert_no_complaints(&impure_dependencies_of_the_machine(&tree::root()));
    assert_no_complaints(&products_with_the_feature_of_tests(&tree::root()));
}

#[test]
fn every_crate_and_module_has_a_name_that_says_what_it_is_for() {
    assert_no_complaints(&names_without_meaning(&tree::root()));
}

#[test]
fn versions_and_lints_are_chosen_in_the_workspace_and_each_is_used() {
    assert_no_complaints(&manifests_on_their_own(&tree::root()));
}

#[test]
fn every_crate_of_the_table_exists() {
    let crates = tree::folders(&tree::root().join("crates"));
    let missing = KNOWS.iter().filter(|(name, _)| !crates.iter().any(|folder| folder == name));
    assert_no_complaints(&missing.map(|(name, _)| format!("crates/{name} is gone")).collect::<Vec<_>>());
}

/// A repository of crates with the given dependency sections.
fn crates(manifests: &[(&str, &str)]) -> tempfile::TempDir {
    let workspace = "[workspace.dependencies]\nconsensus = { version = \"1\", package = \"openraft\" }\n";
    let mut files = vec![("Cargo.toml".to_owned(), workspace.to_owned())];
    files.extend(manifests.iter().map(|(name, text)| (format!("crates/{name}/Cargo.toml"), (*text).to_owned())));
    let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    tree::repository_of(&files)
}

#[test]
fn a_crate_that_reaches_upwards_is_noticed_in_every_section() {
    for section in ["dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
        let root = crates(&[("store", &format!("[{section}]\nferry-raft.workspace = true\n"))]);
        assert_one_complaint(&arrows_that_do_not_go_down(root.path()), "store must not know raft");
    }
    let root = crates(&[("novelty", "")]);
    assert_one_complaint(&arrows_that_do_not_go_down(root.path()), "novelty is not in the table");
}

#[test]
fn a_wrong_or_missing_row_of_the_map_is_noticed() {
    let with_map = |map: &str| tree::repository_of(&[("crates/raft/a", ""), ("crates/proto/a", ""), (MAP, map)]);
    let proto = "| `proto` | generated | nothing |";
    let right = format!("{proto}\n| `raft` | agrees | machine, proto, store |\n");
    assert_no_complaints(&errors_on_the_map(with_map(&right).path()));
    assert_one_complaint(&errors_on_the_map(with_map(&right.replace(", store", "")).path()), "raft knows");
    assert_one_complaint(&errors_on_the_map(with_map(proto).path()), "no row for the crate raft");
    assert_one_complaint(&errors_on_the_map(tree::repository_of(&[("crates/raft/a", "")]).path()), "is gone");
}

#[test]
fn a_cycle_through_the_tests_of_a_crate_is_noticed() {
    let root = crates(&[
        ("store", "[dev-dependencies]\nferry-raft.workspace = true\n"),
        ("raft", "[dependencies]\nferry-store.workspace = true\n"),
        ("server", "[dependencies]\nferry-raft.workspace = true\n"),
    ]);
    assert_eq!(cycles(root.path()), ["raft knows itself by a detour", "store knows itself by a detour"]);
}

#[test]
fn a_delicate_dependency_is_noticed_even_under_another_name() {
    let root = crates(&[("server", "[dependencies]\nconsensus.workspace = true\n")]);
    assert_one_complaint(&delicate_things_known_to_others(root.path()), "server must not depend on openraft");
    let root = crates(&[("server", "[dev-dependencies]\ncluster-tests.workspace = true\n")]);
    assert_one_complaint(&delicate_things_known_to_others(root.path()), "must not depend on the cluster tests");
}

#[test]
fn an_impure_machine_and_empty_names_are_noticed() {
    let root = crates(&[("machine", "[dependencies]\nrand.workspace = true\nthiserror.workspace = true\n")]);
    assert_one_complaint(&impure_dependencies_of_the_machine(root.path()), "must not depend on rand");
    let feature = "[features]\ntesting = [\"dep:proptest\"]\n";
    let machine = format!("{feature}[dependencies]\nproptest = {{ workspace = true, optional = true }}\n");
    let uses = "ferry-machine = { workspace = true, features = [\"testing\"] }\n";
    let root = crates(&[("machine", &machine), ("store", &format!("[dev-dependencies]\n{uses}"))]);
    assert_no_complaints(&impure_dependencies_of_the_machine(root.path()));
    assert_no_complaints(&products_with_the_feature_of_tests(root.path()));
    let root = crates(&[("machine", &machine), ("store", &format!("[dependencies]\n{uses}"))]);
    assert_one_complaint(&products_with_the_feature_of_tests(root.path()), "crates/store: the feature `testing`");
    let bugs = "[dependencies]\nferry-planted = { workspace = true, features = [\"planted-bugs\"] }\n";
    let root = crates(&[("server", bugs)]);
    assert_one_complaint(&products_with_the_feature_of_tests(root.path()), "crates/server: the feature `planted-bugs`");
    let root = crates(&[("cli", "[features]\ndefault = [\"planted-bugs\"]\n")]);
    assert_one_complaint(&products_with_the_feature_of_tests(root.path()), "crates/cli: the feature `planted-bugs`");
    let root = tree::repository_of(&[("crates/a/src/helpers/mod.rs", ""), ("crates/a/src/lib.rs", "")]);
    assert_one_complaint(&names_without_meaning(root.path()), "crates/a/src/helpers/mod.rs");
    let root = crates(&[("util", "")]);
    assert_one_complaint(&names_without_meaning(root.path()), "crates/util");
}

#[test]
fn a_manifest_on_its_own_is_noticed() {
    let root = crates(&[("store", "[lints]\nworkspace = true\n[dependencies]\nconsensus = \"1\"\n")]);
    assert_one_complaint(&manifests_on_their_own(root.path()), "consensus takes its version from the workspace");
    let root = crates(&[("store", "[dependencies]\nconsensus.workspace = true\n")]);
    assert_one_complaint(&manifests_on_their_own(root.path()), "take the workspace's lints");
    let root = crates(&[("store", "[lints]\nworkspace = true\n")]);
    assert_one_complaint(&manifests_on_their_own(root.path()), "no crate uses consensus");
}
