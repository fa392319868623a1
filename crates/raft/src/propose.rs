//! Proposals: concurrent ones are collected into one entry, a single one never waits for company.
//!
//! One task stamps and appends, so stamps grow with the log. While fewer than `ENTRIES_IN_FLIGHT_MAX` entries are on
//! their way, whatever waits goes at once; while that many are, what arrives is collected for the next.

use crate::errors::{Leader, ProposeError};
use crate::leadership::{Lead, Term};
use crate::log::READ_BYTES_MAX;
use crate::peers::MESSAGE_BYTES_MAX;
use crate::read::leader_of;
use crate::types::{Batch, Core, Types};
use ferry_machine::command::Command;
use ferry_machine::id::SegmentId;
use ferry_machine::limits::{ROWS_PER_COMMAND_MAX, ROWS_PER_MAPPING, TARGETS_PER_RUN_MAX};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_store::codec::{self, EncodedCommand};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

/// Entries on their way to a quorum before proposals are collected.
pub(crate) const ENTRIES_IN_FLIGHT_MAX: usize = 4;
/// Proposals that wait on a node before new ones are turned away.
pub(crate) const PROPOSALS_WAITING_MAX: usize = 4_096;
/// Rows that the commands of one entry may read and write together: no entry stalls the log.
const ROWS_PER_ENTRY_MAX: usize = ROWS_PER_COMMAND_MAX;
/// Rows that any command may touch beside those it names: the cluster, a job, a task, a worker, and their indexes.
const ROWS_PER_COMMAND_BASE: usize = 16;
/// Rows of neighbouring targets that nobody held: the lock on them and their row of the job.
const ROWS_PER_RUN: usize = 2;
/// Commands of one entry, however small.
const COMMANDS_PER_ENTRY_MAX: usize = 64;
/// Bytes that commands may have to share an entry; a single larger one goes alone.
const BYTES_PER_ENTRY_MAX: usize = 1024 * 1024;
/// Bytes of one command: twice what a request may bring, and far below what two nodes accept of each other, so that
/// whatever is appended can also be replicated.
const BYTES_PER_COMMAND_MAX: usize = 8 * 1024 * 1024;
const _: () = assert!(BYTES_PER_COMMAND_MAX + READ_BYTES_MAX < MESSAGE_BYTES_MAX);

/// A command that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// What the machine answered.
    pub outcome: Outcome,
    /// The index of its entry: the outcome holds as of this revision.
    pub index: u64,
}

/// A proposal on its way: commands that share an entry.
pub(crate) struct Ask {
    commands: Vec<EncodedCommand>,
    /// Rows that they may read or write at most.
    rows: usize,
    bytes: usize,
    /// Only in this term, if any.
    fence: Option<Term>,
    answer: Answer,
}

type Answered = Vec<Result<Proposed, ProposeError>>;
type Answer = oneshot::Sender<Answered>;

impl Ask {
    /// Proposals of commands in their order, as few as hold them, and where their answers will be; a command that no
    /// entry could ever hold refuses them all.
    pub(crate) fn group(
        commands: &[Command],
        fence: Option<Term>,
    ) -> Result<Vec<(Self, oneshot::Receiver<Answered>)>, Rejection> {
        let mut groups: Vec<(Self, oneshot::Receiver<Answered>)> = Vec::new();
        for command in commands {
            let (rows, encoded) = (rows_max(command), codec::encode_command(command));
            if encoded.size_bytes() > BYTES_PER_COMMAND_MAX {
                let (max, next_step) = (BYTES_PER_COMMAND_MAX as u64, "send less in one request");
                return Err(Rejection::LimitReached { what: "bytes in one command", max, next_step });
            }
            match groups.last_mut() {
                Some((last, _)) if last.has_room(1, rows, encoded.size_bytes()) => last.push(rows, encoded),
                _ => {
                    let (answer, result) = oneshot::channel();
                    let mut group = Self { commands: Vec::new(), rows: 0, bytes: 0, fence, answer };
                    group.push(rows, encoded);
                    groups.push((group, result));
                }
            }
        }
        Ok(groups)
    }

    /// How many commands it has.
    pub(crate) fn commands(&self) -> usize {
        self.commands.len()
    }

    fn push(&mut self, rows: usize, encoded: EncodedCommand) {
        self.rows += rows;
        self.bytes += encoded.size_bytes();
        self.commands.push(encoded);
    }

    /// Whether an entry that holds these commands may have so many more; what one has alone has room by itself.
    fn has_room(&self, commands: usize, rows: usize, bytes: usize) -> bool {
        self.commands.len() + commands <= COMMANDS_PER_ENTRY_MAX
            && self.rows + rows <= ROWS_PER_ENTRY_MAX
            && self.bytes + bytes <= BYTES_PER_ENTRY_MAX
    }
}

/// The task that appends proposals.
pub(crate) struct Proposer {
    core: Core,
    lead: watch::Receiver<Option<Arc<Lead>>>,
    queue: mpsc::Receiver<Ask>,
    /// Taken from the queue, but too large for the entry that was being filled.
    held: Option<Ask>,
}

impl Proposer {
    pub(crate) fn new(core: Core, lead: watch::Receiver<Option<Arc<Lead>>>, queue: mpsc::Receiver<Ask>) -> Self {
        Self { core, lead, queue, held: None }
    }

    /// Runs until nobody can propose any more.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.next().await {
            let lead = self.lead.borrow().clone();
            let Some(lead) = lead.filter(|lead| admits(&first, lead)) else {
                self.refuse(first);
                continue;
            };
            match self.place(&lead).await {
                Some(place) => self.append(&lead, place, first).await,
                None => self.refuse(first),
            }
        }
    }

    async fn next(&mut self) -> Option<Ask> {
        loop {
            let ask = match self.held.take() {
                Some(ask) => ask,
                None => self.queue.recv().await?,
            };
            // Whoever gave up before anything was appended gets nothing appended.
            if !ask.answer.is_closed() {
                return Some(ask);
            }
        }
    }

    /// A place among the entries in flight, or none when the leadership ends first.
    async fn place(&mut self, lead: &Arc<Lead>) -> Option<OwnedSemaphorePermit> {
        let term = lead.term;
        let ended = self.lead.wait_for(|now| now.as_ref().is_none_or(|now| now.term != term));
        tokio::select! {
            place = lead.window.clone().acquire_owned() => place.ok(),
            _ = ended => None,
        }
    }

    async fn append(&mut self, lead: &Lead, place: OwnedSemaphorePermit, first: Ask) {
        let (commands, answers) = self.collect(lead, first);
        let batch = Batch(codec::join_batch(lead.clock.stamp(), &commands).into());
        let (responder, result) = ProgressResponder::<Types, ClientWriteResult<Types>>::complete_only();
        let sent = self.core.write(batch).with_leader(lead.term.number()).responder(responder).await;
        let core = self.core.clone();
        tokio::spawn(async move {
            let result = match sent {
                Ok(()) => result.await.ok(),
                Err(_) => None,
            };
            drop(place);
            distribute(&core, result, answers);
        });
    }

    /// What waits and fits into the entry of `first`: the commands, and how many each answer is for.
    fn collect(&mut self, lead: &Lead, first: Ask) -> (Vec<EncodedCommand>, Vec<(usize, Answer)>) {
        let mut entry = first;
        let mut answers = Vec::new();
        while let Ok(ask) = self.queue.try_recv() {
            if ask.answer.is_closed() {
                continue;
            }
            if !admits(&ask, lead) {
                self.refuse(ask);
                continue;
            }
            if !entry.has_room(ask.commands.len(), ask.rows, ask.bytes) {
                self.held = Some(ask);
                break;
            }
            entry.rows += ask.rows;
            entry.bytes += ask.bytes;
            answers.push((ask.commands.len(), ask.answer));
            entry.commands.extend(ask.commands);
        }
        let others: usize = answers.iter().map(|(count, _)| count).sum();
        answers.insert(0, (entry.commands.len() - others, entry.answer));
        (entry.commands, answers)
    }

    fn refuse(&self, ask: Ask) {
        let leader = other_leader(&self.core);
        let refused = ask.commands.iter().map(|_| Err(ProposeError::NotLeader { leader: leader.clone() }));
        // A proposer that gave up is no error.
        let _ = ask.answer.send(refused.collect());
    }
}

fn admits(ask: &Ask, lead: &Lead) -> bool {
    ask.fence.is_none_or(|fence| fence == lead.term)
}

/// The leader as this node knows it, if it is another node: a node that lost its leadership a moment ago sends nobody
/// to itself.
pub(crate) fn other_leader(core: &Core) -> Leader {
    leader_of(&core.metrics().borrow_watched()).filter(|(id, _)| id != core.node_id())
}

/// Gives each answer as many of the entry's results as it is for.
fn distribute(core: &Core, result: Option<ClientWriteResult<Types>>, answers: Vec<(usize, Answer)>) {
    let failure = match result {
        Some(Ok(response)) if response.data.len() == answers.iter().map(|(count, _)| count).sum::<usize>() => {
            let index = response.log_id.index;
            let mut results = response.data.into_iter().map(|applied| match applied {
                Ok(outcome) => Ok(Proposed { outcome, index }),
                Err(rejection) => Err(ProposeError::Rejected { rejection, index }),
            });
            for (count, answer) in answers {
                let _ = answer.send(results.by_ref().take(count).collect());
            }
            return;
        }
        Some(Ok(_)) => ProposeError::Unknown { reason: "an entry has more or fewer results than commands" },
        Some(Err(ClientWriteError::ForwardToLeader(_))) => ProposeError::NotLeader { leader: other_leader(core) },
        Some(Err(ClientWriteError::LogEntryDiscarded(_))) => {
            ProposeError::Unknown { reason: "the leadership was lost after the proposal was written" }
        }
        Some(Err(ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_))) => {
            ProposeError::Unknown { reason: "raft answered a proposal as if it changed the membership" }
        }
        None => ProposeError::Unknown { reason: "raft stopped on this node" },
    };
    for (count, answer) in answers {
        let _ = answer.send(vec![Err(failure.clone()); count]);
    }
}

/// Rows that a command may read or write at most, as far as its size tells; commands that work in pages fill an entry.
fn rows_max(command: &Command) -> usize {
    let named = match command {
        Command::SubmitPage(page) => {
            let named = page.mappings.iter().filter(|mapping| mapping.target != SegmentId(0)).count();
            // The other targets are chosen by the machine, neighbours that nobody held.
            let runs = (page.mappings.len() - named).div_ceil(TARGETS_PER_RUN_MAX);
            named.saturating_mul(ROWS_PER_MAPPING).saturating_add(runs * ROWS_PER_RUN)
        }
        Command::ExpireRequests { request_ids } => request_ids.len().saturating_mul(2),
        Command::CreateTasks { .. }
        | Command::SettleJob { .. }
        | Command::CollectJob { .. }
        | Command::RegisterWorker { .. }
        | Command::LoseWorker { .. }
        | Command::ReleaseWorker { .. }
        | Command::ExpireEvents { .. } => ROWS_PER_COMMAND_MAX,
        Command::Bootstrap { .. }
        | Command::Tick
        | Command::DropDraft { .. }
        | Command::AssignTask(_)
        | Command::ClaimTargets { .. }
        | Command::ReportProgress { .. }
        | Command::ReportTask { .. }
        | Command::ReleaseTask { .. }
        | Command::DrainWorker { .. }
        | Command::CancelJob { .. }
        | Command::CleanUpJob { .. }
        | Command::FailJob { .. }
        | Command::PauseJob { .. }
        | Command::UpdateJob { .. }
        | Command::NoteDelivered { .. }
        | Command::ReserveIds { .. } => 0,
    };
    named.saturating_add(ROWS_PER_COMMAND_BASE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferry_machine::command::{CopiedSegment, IdMapping, LeaseRef, SubmitPage, TaskResult};
    use ferry_machine::id::{JobId, TaskId, WorkerId};
    use ferry_machine::limits::{MAPPINGS_PER_PAGE_MAX, SEGMENTS_PER_TASK_MAX};
    use ferry_machine::time::Stamp;

    fn report(segments: u32) -> Command {
        let lease = LeaseRef { task: TaskId(1), attempt: 1, worker: WorkerId(1), incarnation: 1 };
        let copied = |number| CopiedSegment { target: SegmentId(number), partition_id: 1, rows: 1, bytes: 1 };
        let segments = (1..=i64::from(segments)).map(copied).collect();
        Command::ReportTask { lease, result: TaskResult::Copied { segments }, writes_for_ms: 0 }
    }

    #[test]
    fn the_largest_page_of_a_submit_fits_into_an_entry() {
        let mappings = vec![IdMapping { target: SegmentId(1), ..IdMapping::default() }; MAPPINGS_PER_PAGE_MAX];
        let page = |mappings| Command::SubmitPage(Box::new(SubmitPage { mappings, ..SubmitPage::default() }));
        assert!(rows_max(&page(mappings)) <= ROWS_PER_ENTRY_MAX);
        let chosen = vec![page(vec![IdMapping::default(); MAPPINGS_PER_PAGE_MAX]); 100];
        let counts: Vec<usize> = Ask::group(&chosen, None).unwrap().iter().map(|(ask, _)| ask.commands.len()).collect();
        assert_eq!(counts, [50, 50], "those of targets that the machine chooses share entries");
    }

    #[test]
    fn a_command_that_works_in_pages_has_its_entry_to_itself() {
        let create = Command::CreateTasks { job: JobId(1), tasks_created: 0 };
        assert!(rows_max(&create) + rows_max(&Command::Tick) > ROWS_PER_ENTRY_MAX);
    }

    #[test]
    fn commands_that_are_proposed_together_share_entries_in_their_order() {
        let lease = LeaseRef { task: TaskId(1), attempt: 1, worker: WorkerId(1), incarnation: 1 };
        let create = Command::CreateTasks { job: JobId(1), tasks_created: 0 };
        let mut commands = vec![Command::AssignTask(lease); COMMANDS_PER_ENTRY_MAX];
        commands.extend([create.clone(), create, Command::Tick, Command::Tick]);
        let groups = Ask::group(&commands, None).unwrap();
        let counts: Vec<usize> = groups.iter().map(|(ask, _)| ask.commands.len()).collect();
        assert_eq!(counts, [62, 2, 1, 1, 2]);
        let reports = vec![report(SEGMENTS_PER_TASK_MAX); 100];
        let counts: Vec<usize> =
            Ask::group(&reports, None).unwrap().iter().map(|(ask, _)| ask.commands.len()).collect();
        assert_eq!(counts, [62, 38], "reports, however many segments they are of");
        let encoded: Vec<EncodedCommand> = groups.into_iter().flat_map(|(ask, _)| ask.commands).collect();
        assert_eq!(codec::decode_batch(&codec::join_batch(Stamp::default(), &encoded)).unwrap().1, commands);
    }

    #[test]
    fn a_command_that_no_entry_could_hold_is_refused_before_it_is_proposed() {
        let reason = "x".repeat(BYTES_PER_COMMAND_MAX);
        let refused = Ask::group(&[Command::FailJob { job: JobId(1), reason }], None).err();
        assert!(matches!(refused, Some(Rejection::LimitReached { .. })), "{refused:?}");
        assert!(Ask::group(&[Command::Tick], None).is_ok());
    }
}
