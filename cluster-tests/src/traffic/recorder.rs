//! Keeps every operation of a run, in memory for the checkers and as it happens in a file for people.
//!
//! Invariant: an operation is in the file before its client does the next thing, so a run that breaks off leaves
//! everything that was known.

use super::counts::Counts;
use super::history::{Answer, Operation, Outcome};
use super::submission::Submission;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Name of the file.
const FILE: &str = "history.jsonl";

/// The history of a run; cheap to clone, and the closing reads of the checkers are written into it too.
#[derive(Clone)]
pub struct History(Arc<Recorder>);

struct Recorder {
    began: Instant,
    path: PathBuf,
    numbers: AtomicU64,
    kept: Mutex<Kept>,
}

struct Kept {
    operations: Vec<Arc<Operation>>,
    submissions: Vec<Arc<Submission>>,
    file: BufWriter<File>,
}

impl History {
    /// A new one, whose file is made in `folder`.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn begin(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let file = BufWriter::new(File::create(&path).expect("the history's file can be made"));
        let kept = Mutex::new(Kept { operations: Vec::new(), submissions: Vec::new(), file });
        Self(Arc::new(Recorder { began: Instant::now(), path, numbers: AtomicU64::new(0), kept }))
    }

    /// Microseconds since it began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Every operation so far, in the order of their ends.
    #[must_use]
    pub fn operations(&self) -> Vec<Arc<Operation>> {
        self.kept(|kept| kept.operations.clone())
    }

    /// Every submit that was tried.
    #[must_use]
    pub fn submissions(&self) -> Vec<Arc<Submission>> {
        self.kept(|kept| kept.submissions.clone())
    }

    /// How many operations of each kind came to what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(&self.operations())
    }

    /// Notes that something is going to be submitted.
    pub(crate) fn announce(&self, submission: &Arc<Submission>) {
        self.kept(|kept| kept.submissions.push(Arc::clone(submission)));
    }

    /// A number for an operation.
    pub(crate) fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps an operation.
    pub(crate) fn record(&self, operation: Operation) -> Arc<Operation> {
        let operation = Arc::new(operation);
        let line = line(&operation);
        self.kept(|kept| {
            // A full disk costs the file, never the run: the checkers read what is in memory.
            let written = writeln!(kept.file, "{line}").and_then(|()| kept.file.flush());
            if let Err(error) = written {
                eprintln!("the history in {} is not complete: {error}", self.0.path.display());
            }
            kept.operations.push(Arc::clone(&operation));
        });
        operation
    }

    fn kept<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.0.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn line(operation: &Operation) -> serde_json::Value {
    let (outcome, code, message) = match &operation.outcome {
        Outcome::Ok => ("ok", None, None),
        Outcome::Refused(code, message) => ("refused", Some(format!("{code:?}")), Some(message)),
        Outcome::Unknown(code, message) => ("unknown", Some(format!("{code:?}")), Some(message)),
    };
    let answer = (operation.answer != Answer::None).then(|| format!("{:?}", operation.answer));
    serde_json::json!({
        "number": operation.number,
        "client": &*operation.client,
        "node": operation.node,
        "kind": format!("{:?}", operation.request.kind()),
        "request": format!("{:?}", operation.request),
        "promise": format!("{:?}", operation.promise),
        "called_us": operation.called_us,
        "returned_us": operation.returned_us,
        "outcome": outcome,
        "code": code,
        "message": message,
        "revision": operation.revision,
        "staleness_ms": operation.staleness_ms,
        "revision_min": operation.revision_min,
        "answer": answer,
    })
}
