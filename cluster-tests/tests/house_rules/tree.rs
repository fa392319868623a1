//! The files of a repository as a fresh clone has them: what `.gitignore` names is not there.
//!
//! It does not ask git, so that the tests also run on an unpacked archive and on a machine without it.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// The root of this repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cluster-tests lies in the root").to_path_buf()
}

/// All files below `root`, relative to it, ordered, with `/` between the parts.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let ignored = Ignored::read(root);
    let walk = WalkDir::new(root).sort_by_file_name().into_iter();
    walk.filter_entry(|entry| entry.file_name() != ".git" && !ignored.covers(&relative(root, entry.path())))
        .map(|entry| entry.expect("the repository is readable"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| relative(root, entry.path()))
        .collect()
}

/// The files whose names end with `suffix`.
pub(crate) fn files_ending(root: &Path, suffix: &str) -> Vec<String> {
    files(root).into_iter().filter(|file| file.ends_with(suffix)).collect()
}

/// The text of a file, or nothing when it is no text.
pub(crate) fn text(root: &Path, file: &str) -> Option<String> {
    String::from_utf8(fs::read(root.join(file)).expect("a listed file is readable")).ok()
}

/// The names of the folders directly in `folder`, ordered; none when it does not exist.
pub(crate) fn folders(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the folder is readable"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).expect("the walk stays below the root");
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The two kinds of pattern our `.gitignore` has: `/path` from the root, and `*.suffix`.
struct Ignored {
    paths: Vec<String>,
    suffixes: Vec<String>,
}

impl Ignored {
    fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut ignored = Self { paths: Vec::new(), suffixes: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match (line.strip_prefix('/'), line.strip_prefix('*')) {
                (Some(path), _) => ignored.paths.push(path.trim_end_matches('/').to_owned()),
                (None, Some(suffix)) => ignored.suffixes.push(suffix.to_owned()),
                (None, None) => panic!(".gitignore: teach the house rules what `{line}` means"),
            }
        }
        ignored
    }

    fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|ignored| ignored == path) || self.suffixes.iter().any(|suffix| path.ends_with(suffix))
    }
}

/// Writes files into a new folder: a small repository to show to a rule.
pub(crate) fn repository_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (file, text) in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a new folder");
        fs::write(path, text).expect("a new file");
    }
    root
}

#[test]
fn ignored_files_are_not_part_of_the_repository() {
    let root = repository_of(&[
        (".gitignore", "/target\n/.cargo/config.toml\n*.profraw\n"),
        (".git/HEAD", ""),
        (".cargo/config.toml", ""),
        ("crates/a/target/kept", ""),
        ("crates/a/x.profraw", ""),
        ("target/debug/x", ""),
    ]);
    assert_eq!(files(root.path()), [".gitignore", "crates/a/target/kept"]);
}
