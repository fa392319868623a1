//! How a process ended by itself: a node that gives up has to say why, and not to be killed by its own fault.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::ExitStatus;

/// What a program says last when it fails in order begins with this.
const ERROR: &str = "error:";
/// Characters that are repeated in a message.
const SHOWN_CHARS_MAX: usize = 400;

/// An end.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    status: ExitStatus,
    /// The reason that it gave, or else its last line.
    said: String,
    gave_reason: bool,
}

impl Exit {
    /// Of a process whose log begins at `from`.
    pub(crate) fn of(status: ExitStatus, log: &Path, from: u64) -> Self {
        let mut text = Vec::new();
        let read = File::open(log).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.read_to_end(&mut text)
        });
        let text = match read {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("{}: {error}", log.display()),
        };
        let reason = text.lines().rfind(|line| line.starts_with(ERROR));
        let said = reason.or_else(|| text.lines().last()).unwrap_or_default().to_owned();
        Self { status, said, gave_reason: reason.is_some() }
    }

    /// Whether it failed with an exit code and a reason that has one of these words in it.
    pub(crate) fn names(&self, causes: &[&str]) -> bool {
        let in_order = self.status.code().is_some_and(|code| code != 0);
        in_order && self.gave_reason && causes.iter().any(|cause| self.said.contains(cause))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.said.chars().take(SHOWN_CHARS_MAX).collect();
        write!(formatter, "{}: {shown}", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn exit(wait_status: i32, before: &str, log: &str) -> Exit {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("log");
        std::fs::write(&path, format!("{before}{log}")).expect("a log can be written");
        Exit::of(ExitStatus::from_raw(wait_status), &path, before.len() as u64)
    }

    #[test]
    fn a_node_that_says_why_it_ends_names_the_cause() {
        let ended = exit(1 << 8, "", "a line\nerror: the node has ended: No space left\nanother line\n");
        assert!(ended.names(&["No space left"]), "{ended}");
        assert!(!ended.names(&["Input/output error"]), "{ended}");
    }

    #[test]
    fn what_an_earlier_process_said_does_not_count() {
        let ended = exit(1 << 8, "error: No space left\n", "a line\n");
        assert!(!ended.names(&["No space left"]), "{ended}");
    }

    #[test]
    fn a_node_that_its_own_fault_kills_names_nothing() {
        let ended = exit(6, "", "error: No space left\n");
        assert!(!ended.names(&["No space left"]), "{ended}");
    }
}
