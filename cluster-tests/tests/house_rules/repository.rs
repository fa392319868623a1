//! The repository as a whole: what lies at its top, and what its files may not name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{assert_no_complaints, assert_one_complaint, tree};

const TOP_FOLDERS: [&str; 8] = [".ci", ".config", "cluster-tests", "crates", "docs", "findings", "proto", "scripts"];

/// Where packages come from is the machine's own business; only the lock file, which cargo writes, names a registry.
const REGISTRIES: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
];

/// Folders that exist on one machine only.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

fn folders_out_of_place(root: &Path) -> Vec<String> {
    let mut found: Vec<String> =
        tree::files(root).iter().filter_map(|file| Some(file.split_once('/')?.0.to_owned())).collect();
    found.dedup();
    let unknown = found.iter().filter(|folder| !TOP_FOLDERS.contains(&folder.as_str()));
    let missing = TOP_FOLDERS.iter().filter(|folder| !found.iter().any(|name| name == *folder));
    let unknown = unknown.map(|folder| format!("{folder}/ has no place at the top"));
    unknown.chain(missing.map(|folder| format!("{folder}/ is gone"))).collect()
}

/// Whether `path` stands in the text as the beginning of a path, not as a part of a longer one.
fn names_path(text: &str, path: &str) -> bool {
    let begins = |before: &str| !before.ends_with(|last: char| last.is_alphanumeric() || "._-}".contains(last));
    text.match_indices(path).any(|(at, _)| begins(&text[..at]))
}

fn traces_of_one_machine(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree::files(root).into_iter().filter(|file| file != "Cargo.lock") {
        let Some(text) = tree::text(root, &file) else { continue };
        let registries = REGISTRIES.iter().filter(|host| text.contains(*host));
        complaints.extend(registries.map(|host| format!("{file}: names the registry {host}")));
        let paths = MACHINE_PATHS.iter().filter(|path| names_path(&text, path));
        complaints.extend(paths.map(|path| format!("{file}: names the path {path}")));
    }
    complaints
}

fn scripts_that_do_not_run(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let scripts = tree::files(root).into_iter().filter(|file| file.starts_with("scripts/") || file.starts_with(".ci/"));
    for script in scripts {
        let text = tree::text(root, &script).unwrap_or_default();
        if !text.starts_with("#!") {
            continue;
        }
        if !text.contains("\nset -euo pipefail\n") {
            complaints.push(format!("{script}: a command that fails must end it: set -euo pipefail"));
        }
        let mode = fs::metadata(root.join(&script)).expect("a listed file has a mode").permissions().mode();
        if mode & 0o111 != 0o111 {
            complaints.push(format!("{script}: is not executable"));
        }
    }
    complaints
}

#[test]
fn the_top_of_the_repository_has_its_folders_and_no_others() {
    assert_no_complaints(&folders_out_of_place(&tree::root()));
}

#[test]
fn no_file_names_a_registry_or_a_folder_of_one_machine() {
    assert_no_complaints(&traces_of_one_machine(&tree::root()));
}

#[test]
fn scripts_are_executable_and_stop_at_the_first_failure() {
    assert_no_complaints(&scripts_that_do_not_run(&tree::root()));
}

#[test]
fn a_folder_out_of_place_is_noticed() {
    let files = TOP_FOLDERS.map(|folder| format!("{folder}/x"));
    let mut files: Vec<_> = files.iter().map(|file| (file.as_str(), "")).collect();
    files.push(("README.md", ""));
    assert_no_complaints(&folders_out_of_place(tree::repository_of(&files).path()));
    files.push(("lib/x", ""));
    assert_one_complaint(&folders_out_of_place(tree::repository_of(&files).path()), "lib/ has no place");
    files.retain(|(file, _)| !file.starts_with("lib/") && !file.starts_with("proto/"));
    assert_one_complaint(&folders_out_of_place(tree::repository_of(&files).path()), "proto/ is gone");
}

#[test]
fn traces_of_one_machine_are_noticed() {
    for (host, path) in REGISTRIES.iter().zip(MACHINE_PATHS.iter().cycle()) {
        let root = tree::repository_of(&[("scripts/setup", &format!("fetch https://{host}/x")), ("Cargo.lock", host)]);
        assert_one_complaint(&traces_of_one_machine(root.path()), "scripts/setup: names the registry");
        let root = tree::repository_of(&[("a.md", &format!("file://{path}x")), ("b.md", &format!("/tmp/a{path}"))]);
        assert_one_complaint(&traces_of_one_machine(root.path()), "a.md: names the path");
    }
}

#[test]
fn a_script_that_cannot_run_is_noticed() {
    let root = tree::repository_of(&[("scripts/test", "#!/bin/bash\nset -euo pipefail\n"), ("scripts/a.txt", "x")]);
    assert_one_complaint(&scripts_that_do_not_run(root.path()), "scripts/test: is not executable");
    let script = root.path().join("scripts/test");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a new mode");
    assert_no_complaints(&scripts_that_do_not_run(root.path()));
    fs::write(&script, "#!/bin/bash\n").expect("a new text");
    assert_one_complaint(&scripts_that_do_not_run(root.path()), "set -euo pipefail");
}
