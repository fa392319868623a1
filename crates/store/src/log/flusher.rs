//! The one thread that syncs the log: callbacks are completed in the order they came, each after a sync begun after it.

use super::{Durable, Inner};
use crate::files::{FileError, Named};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The thread and its queue; dropping it syncs what is left and ends the thread.
pub(super) struct Flusher {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    callbacks: Vec<Durable>,
    closing: bool,
}

impl Flusher {
    pub(super) fn start(log: Arc<Inner>) -> Result<Self, FileError> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let folder = log.folder.clone();
        let thread = std::thread::Builder::new()
            .name("ferry-log-sync".into())
            .spawn(move || run(&log, &theirs))
            .named("start a thread for", &folder)?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub(super) fn join(&self, done: Durable) {
        self.queue.lock().callbacks.push(done);
        self.queue.changed.notify_one();
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.queue.lock().closing = true;
        self.queue.changed.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // A callback may hold the last reference to the log; its own thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the thread that syncs the raft log panicked");
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a group; the flag says that it is the last.
    fn next_group(&self) -> (Vec<Durable>, bool) {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| waiting.callbacks.is_empty() && !waiting.closing;
        let mut waiting = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut waiting.callbacks), waiting.closing)
    }
}

fn run(log: &Inner, queue: &Queue) {
    loop {
        let (group, last) = queue.next_group();
        let synced = log.sync();
        if let Err(error) = &synced {
            tracing::error!(%error, "the raft log cannot be synced");
        }
        for done in group {
            done(synced.clone());
        }
        if last {
            return;
        }
    }
}
