//! What a simulation tells: a transcript for people, and how often everything happened.

use crate::consensus::{Answer, Proposal};
use crate::world::World;
use ferry_machine::command::{Command, TaskResult};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::view::State;

impl World {
    /// Something happened.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        if what.starts_with("fault") {
            self.note(|| what.to_owned());
        }
    }

    /// A line of the transcript, which is only made when somebody reads it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push_str(&format!("{:>7} ms  {}\n", self.now, line()));
        }
    }

    /// An entry is committed.
    pub(crate) fn note_entry(&mut self, proposal: &Proposal, answer: &Answer) {
        let number = self.log.len();
        self.note(|| {
            let answer = match answer {
                Ok(outcome) => format!("{outcome:?}"),
                Err(rejection) => format!("refused: {rejection}"),
            };
            format!("entry {number}, node {}: {} -> {answer}", proposal.node, story(&proposal.command))
        });
    }

    /// The simulation has found something.
    pub(crate) fn contradict(&mut self, what: String) {
        self.note(|| format!("CONTRADICTION: {what}"));
        let now = self.now;
        self.contradiction.get_or_insert_with(|| what + &format!(" (at {now} ms)"));
    }
}

/// A command in a few words.
fn story(command: &Command) -> String {
    match command {
        Command::SubmitPage(page) => {
            format!("{} from {}, {} of {}", page.request_id, page.offset, page.mappings.len(), page.spec.segments)
        }
        Command::ReportTask { lease, result, writes_for_ms } => {
            let result = match result {
                TaskResult::Copied { segments } => format!("copied {} segments", segments.len()),
                TaskResult::Published => "published".to_owned(),
                TaskResult::CleanedUp => "cleaned up".to_owned(),
                TaskResult::Verified { segments } => format!("verified {} segments", segments.len()),
                TaskResult::Failed { kind, reason } => format!("failed ({kind:?}: {reason})"),
            };
            let late = late(*writes_for_ms);
            format!("task {} attempt {} on worker {}: {result}{late}", lease.task, lease.attempt, lease.worker)
        }
        Command::AssignTask(lease) => {
            format!("task {} attempt {} goes to worker {}", lease.task, lease.attempt, lease.worker)
        }
        Command::ClaimTargets { lease, .. } => format!("task {} attempt {} claims", lease.task, lease.attempt),
        Command::ReleaseTask { lease, writes_for_ms } => {
            format!("task {} attempt {} has stopped{}", lease.task, lease.attempt, late(*writes_for_ms))
        }
        Command::ReportProgress { lease, bytes_copied } => format!("task {} copied {bytes_copied} bytes", lease.task),
        Command::RegisterWorker { name, incarnation, .. } => format!("{name} registers, incarnation {incarnation}"),
        _ => format!("{command:?}"),
    }
}

fn late(writes_for_ms: u64) -> String {
    if writes_for_ms == 0 { String::new() } else { format!(", and its store may write for {writes_for_ms} ms") }
}

/// Under which name a command is counted.
pub(crate) fn command_name(command: &Command) -> &'static str {
    match command {
        Command::Bootstrap { .. } => "command: bootstrap",
        Command::Tick => "command: tick",
        Command::SubmitPage(_) => "command: submit page",
        Command::DropDraft { .. } => "command: drop draft",
        Command::CreateTasks { .. } => "command: create tasks",
        Command::AssignTask(_) => "command: assign task",
        Command::ClaimTargets { .. } => "command: claim targets",
        Command::ReportProgress { .. } => "command: report progress",
        Command::ReportTask { result, .. } => match result {
            TaskResult::Copied { .. } => "command: report copied",
            TaskResult::Published => "command: report published",
            TaskResult::CleanedUp => "command: report cleaned up",
            TaskResult::Verified { .. } => "command: report verified",
            TaskResult::Failed { .. } => "command: report failed",
        },
        Command::ReleaseTask { .. } => "command: release task",
        Command::RegisterWorker { .. } => "command: register worker",
        Command::LoseWorker { .. } => "command: lose worker",
        Command::ReleaseWorker { .. } => "command: release worker",
        Command::DrainWorker { .. } => "command: drain worker",
        Command::CancelJob { .. } => "command: cancel job",
        Command::CleanUpJob { .. } => "command: clean up job",
        Command::FailJob { .. } => "command: fail job",
        Command::PauseJob { .. } => "command: pause job",
        Command::UpdateJob { .. } => "command: update job",
        Command::SettleJob { .. } => "command: settle job",
        Command::CollectJob { .. } => "command: collect job",
        Command::ExpireRequests { .. } => "command: expire requests",
        Command::ExpireEvents { .. } => "command: expire events",
        Command::NoteDelivered { .. } => "command: note delivered",
        Command::ReserveIds { .. } => "command: reserve ids",
    }
}

/// Under which name an answer is counted.
pub(crate) fn answer_name(answer: &Answer) -> &'static str {
    match answer {
        Ok(Outcome::Done) => "outcome: done",
        Ok(Outcome::Bootstrapped { .. }) => "outcome: bootstrapped",
        Ok(Outcome::Page { already_existed: true, .. }) => "outcome: page known",
        Ok(Outcome::Page { submitted: true, .. }) => "outcome: submitted",
        Ok(Outcome::Page { .. }) => "outcome: page",
        Ok(Outcome::Job(_)) => "outcome: job",
        Ok(Outcome::Ids { .. }) => "outcome: ids",
        Ok(Outcome::Worker(_)) => "outcome: worker",
        Ok(Outcome::Assigned(_)) => "outcome: assigned",
        Ok(Outcome::Released(_)) => "outcome: released",
        Ok(Outcome::Reported { job_ended: true }) => "outcome: job ended",
        Ok(Outcome::Reported { job_ended: false }) => "outcome: reported",
        Err(rejection) => rejection_name(rejection),
    }
}

fn rejection_name(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::NotBootstrapped => "rejection: not bootstrapped",
        Rejection::JobNotFound(_) => "rejection: job not found",
        Rejection::TaskNotFound(_) => "rejection: task not found",
        Rejection::WorkerNotFound(_) => "rejection: worker not found",
        Rejection::RequestIdReused { .. } => "rejection: request id reused",
        Rejection::TargetHeld { .. } => "rejection: target held",
        Rejection::TargetNotAllocated { .. } => "rejection: target not allocated",
        Rejection::Invalid { .. } => "rejection: invalid",
        Rejection::WrongState { .. } => "rejection: wrong state",
        Rejection::WrongOffset { .. } => "rejection: wrong offset",
        Rejection::Stale(_) => "rejection: stale",
        Rejection::LeaseNotHeld { .. } => "rejection: lease not held",
        Rejection::WrongTargets { .. } => "rejection: wrong targets",
        Rejection::ManifestAltered { .. } => "rejection: manifest altered",
        Rejection::LimitReached { .. } => "rejection: limit reached",
    }
}

/// Under which name the end of a job is counted.
pub(crate) fn end_name(state: State) -> &'static str {
    match state {
        State::Pending | State::Executing => "a job lives",
        State::Completed => "a job completes",
        State::Failed => "a job fails",
        State::Canceled => "a job is canceled",
    }
}
