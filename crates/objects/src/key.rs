//! Object keys as relative paths, and the check that keeps a hostile one out: no key that passes can leave the
//! folder it is joined to, on any store.

use thiserror::Error;

/// The longest key that object stores accept, in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// The longest file name that file systems accept, in bytes.
const PART_BYTES_MAX: usize = 255;
/// How much of a bad key an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// A key that this crate refuses to touch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the key {key} is refused: {fault}; correct the snapshot that names it")]
pub struct KeyError {
    /// The key, escaped and cut to a readable length.
    pub key: String,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// Nothing is named.
    #[error("it is empty")]
    Empty,
    /// It starts with a slash.
    #[error("it is absolute")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("one of its parts is empty")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error("one of its parts is '.' or '..'")]
    DotPart,
    /// A backslash, which some systems read as a slash.
    #[error("it contains a backslash")]
    Backslash,
    /// NUL or another control character.
    #[error("it contains a NUL or control character")]
    Control,
    /// Longer than any store accepts.
    #[error("it is longer than 1024 bytes, or one of its parts is longer than 255")]
    TooLong,
    /// `name#123`, which local stores reserve for files that are still being written.
    #[error("its last part ends in '#' and digits, which is reserved for temporary files")]
    Reserved,
}

/// Refuses every key that could mean something else than a plain path below the folder it is joined to.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    match fault_of(key) {
        None => Ok(()),
        Some(fault) => Err(KeyError { key: shown(key), fault }),
    }
}

fn fault_of(key: &str) -> Option<KeyFault> {
    if key.is_empty() {
        return Some(KeyFault::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Some(KeyFault::TooLong);
    }
    if key.starts_with('/') {
        return Some(KeyFault::Absolute);
    }
    if key.contains('\\') {
        return Some(KeyFault::Backslash);
    }
    if key.chars().any(char::is_control) {
        return Some(KeyFault::Control);
    }
    key.split('/').find_map(fault_of_part).or_else(|| is_reserved(key).then_some(KeyFault::Reserved))
}

fn fault_of_part(part: &str) -> Option<KeyFault> {
    match part {
        "" => Some(KeyFault::EmptyPart),
        "." | ".." => Some(KeyFault::DotPart),
        _ if part.len() > PART_BYTES_MAX => Some(KeyFault::TooLong),
        _ => None,
    }
}

fn is_reserved(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.rsplit_once('#').is_some_and(|(_, tail)| !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A key in a form that is safe to print, whatever it contains.
pub fn shown(key: &str) -> String {
    let mut text: String = key.chars().take(SHOWN_CHARS_MAX).collect();
    if text.len() < key.len() {
        text.push('…');
    }
    format!("{text:?}")
}

/// `root` and `key` as one key; either may be empty.
pub fn join(root: &str, key: &str) -> String {
    match (root.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (false, true) => root.to_owned(),
        (false, false) => format!("{root}/{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_key_passes() {
        for key in ["a", "insert_log/1/2/3/0/4", "files/index_files/1/1/2/3/HNSW", "a b/ü", "v#x", "..a/b.."] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
    }

    #[test]
    fn a_hostile_key_is_refused_with_its_fault() {
        let long_part = format!("a/{}", "x".repeat(256));
        let long_key = "a/".repeat(600) + "a";
        for (key, fault) in [
            ("", KeyFault::Empty),
            ("/etc/passwd", KeyFault::Absolute),
            ("a//b", KeyFault::EmptyPart),
            ("a/", KeyFault::EmptyPart),
            ("../a", KeyFault::DotPart),
            ("a/../b", KeyFault::DotPart),
            ("a/..", KeyFault::DotPart),
            ("./a", KeyFault::DotPart),
            ("a/./b", KeyFault::DotPart),
            ("a\\..\\b", KeyFault::Backslash),
            ("a/\0", KeyFault::Control),
            ("a/\n/b", KeyFault::Control),
            ("a/\u{85}b", KeyFault::Control),
            (long_part.as_str(), KeyFault::TooLong),
            (long_key.as_str(), KeyFault::TooLong),
            ("a/b#12", KeyFault::Reserved),
        ] {
            assert_eq!(check_key(key).expect_err(key).fault, fault, "{key:?}");
        }
    }

    #[test]
    fn an_error_shows_no_raw_control_character_and_stays_short() {
        let message = check_key(&format!("\u{1b}[31m/{}", "x".repeat(10_000))).unwrap_err().to_string();
        assert!(!message.contains('\u{1b}') && message.len() < 400, "{message}");
    }

    proptest::proptest! {
        #[test]
        fn a_key_that_passes_never_leaves_its_folder(key in "([a-z./\\\\#0-9]|\\PC){0,40}") {
            if check_key(&key).is_ok() {
                let joined = std::path::Path::new("/root").join(&key);
                let depth = joined.components().try_fold(0_i32, |depth, part| match part {
                    std::path::Component::Normal(_) => Some(depth + 1),
                    std::path::Component::RootDir => Some(depth),
                    _ => None,
                });
                proptest::prop_assert!(joined.starts_with("/root") && depth.is_some_and(|depth| depth >= 2), "{joined:?}");
            }
        }
    }
}
