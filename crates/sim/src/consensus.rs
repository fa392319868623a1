//! A simplified consensus: one ordered log, terms, leaders that change at any moment, replicas that lag and restart.
//!
//! Invariant: an entry is appended only by the leader of the current term, with a quorum of nodes that can be reached.

use crate::bug::Bug;
use crate::clock::Clock;
use crate::leader::Leadership;
use crate::link::RunId;
use crate::queue::Event;
use crate::world::World;
use ferry_machine::apply;
use ferry_machine::command::Command;
use ferry_machine::id::WorkerId;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::tables::Memory;
use ferry_machine::time::Stamp;

/// How often the replicas look whether they have a leader.
const ELECTION_INTERVAL_MS: u64 = 700;
/// Entries between two checkpoints of a node.
const CHECKPOINT_ENTRIES: usize = 40;

/// What applying an entry said.
pub(crate) type Answer = Result<Outcome, Rejection>;

/// A committed entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    pub(crate) stamp: Stamp,
    /// What the first replica said; all others must say the same.
    pub(crate) answer: Answer,
}

/// A replica.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) up: bool,
    /// Cut off from the other nodes, not from workers and clients.
    pub(crate) cut: bool,
    pub(crate) applied: usize,
    pub(crate) rows: Memory,
    checkpoint: (usize, Memory),
    pub(crate) clock: Clock,
    pub(crate) leadership: Option<Leadership>,
}

impl Node {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            up: true,
            cut: false,
            applied: 0,
            rows: Memory::default(),
            checkpoint: (0, Memory::default()),
            clock,
            leadership: None,
        }
    }
}

/// A command on its way into the log.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) node: usize,
    pub(crate) term: u64,
    pub(crate) command: Command,
    pub(crate) stamp: Stamp,
    pub(crate) purpose: Purpose,
}

/// Who waits for the answer to a proposal.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// A new leader's barrier.
    Barrier,
    /// The leader's round.
    Plan,
    /// The leader's round, which declares a worker lost.
    Lose(WorkerId, u64),
    /// A worker that says hello.
    Hello { link: u64, running: Vec<RunId> },
    /// An attempt that claims.
    Claim { link: u64, run: RunId },
    /// An attempt that reports progress.
    Progress { link: u64, run: RunId },
    /// An attempt that ended; whose report it really is.
    Report { link: u64, run: RunId },
    /// An attempt that has stopped.
    Dropped { link: u64, run: RunId },
    /// A client.
    Client(crate::client::Call),
}

impl World {
    /// Whether a node that leads can reach a quorum.
    pub(crate) fn quorum(&self, node: usize) -> bool {
        let reachable = |node: &&Node| node.up && !node.cut;
        let others = self.nodes.iter().filter(reachable).count();
        self.nodes.get(node).is_some_and(|node| node.up && !node.cut) && others * 2 > self.nodes.len()
    }

    /// A leader proposes; the answer comes later, or never.
    pub(crate) fn propose(&mut self, node: usize, command: Command, purpose: Purpose) {
        let now = self.now;
        let bug = self.bug;
        let Some(leader) = self.nodes.get(node) else { return };
        let Some(leadership) = &leader.leadership else { return };
        let stamp = Stamp { at: leadership.now(&leader.clock, now, bug), wall_ms: leader.clock.wall_ms(now) };
        let proposal = Proposal { node, term: leadership.term, command, stamp, purpose };
        self.made += 1;
        self.proposals.insert(self.made, proposal);
        let delay = if self.faults_on && self.random.percent(2) { 800 } else { self.random.between(1, 8) };
        self.queue.push(now + delay, Event::Commit(self.made));
    }

    /// A proposal reaches a quorum of its term, or its fate stays unknown to its proposer.
    pub(crate) fn commit(&mut self, number: u64) {
        let Some(proposal) = self.proposals.remove(&number) else { return };
        let deposed = proposal.term != self.term;
        let lands = if deposed { self.bug == Some(Bug::DeposedLeaderCommits) } else { self.quorum(proposal.node) };
        if !lands {
            self.count(if deposed { "fault: proposal of a deposed leader" } else { "fault: proposal without quorum" });
            self.answered(&proposal, None);
            return;
        }
        if self.dies_before(&proposal) {
            return;
        }
        let answer = self.append(&proposal);
        if self.dies_after(&proposal) {
            return;
        }
        if self.faults_on && self.random.percent(1) {
            self.count("fault: outcome unknown to the proposer");
            self.answered(&proposal, None);
        } else {
            self.answered(&proposal, Some(answer));
        }
    }

    /// Appends an entry; the proposing node applies it at once, the others in their time.
    fn append(&mut self, proposal: &Proposal) -> Answer {
        self.before_entry(proposal);
        let revision = revision_of(self.log.len());
        let answer = apply(&mut self.rows, &proposal.command, proposal.stamp, revision);
        let entry = Entry { command: proposal.command.clone(), stamp: proposal.stamp, answer: answer.clone() };
        self.log.push(entry);
        self.note_entry(proposal, &answer);
        self.after_entry(proposal, &answer);
        self.apply_on(proposal.node);
        for node in (0..self.nodes.len()).filter(|node| *node != proposal.node) {
            let late = self.faults_on && self.random.percent(5);
            let delay = if late { self.random.between(500, 5_000) } else { self.random.between(1, 20) };
            self.queue.push(self.now + delay, Event::Apply(node));
        }
        answer
    }

    /// A replica catches up with the log.
    pub(crate) fn apply_on(&mut self, node: usize) {
        let Some(replica) = self.nodes.get_mut(node).filter(|node| node.up) else { return };
        let mut differs = None;
        let behind = replica.applied < self.log.len();
        while let Some(entry) = self.log.get(replica.applied) {
            let answer = apply(&mut replica.rows, &entry.command, entry.stamp, revision_of(replica.applied));
            replica.applied += 1;
            if answer != entry.answer {
                differs = Some(format!("node {node} answers entry {} with {answer:?}", replica.applied));
            }
            if replica.applied.is_multiple_of(CHECKPOINT_ENTRIES) {
                replica.checkpoint = (replica.applied, replica.rows.clone());
            }
        }
        if behind && replica.rows != self.rows {
            differs = Some(format!("node {node} has other rows after entry {}", replica.applied));
        }
        if let Some(differs) = differs {
            self.contradict(differs);
        }
    }

    /// The nodes see to it that one of them leads.
    pub(crate) fn elect(&mut self) {
        self.queue.push(self.now + ELECTION_INTERVAL_MS, Event::Elect);
        if self.leader.is_none_or(|leader| !self.quorum(leader) || !self.leads(leader)) {
            self.change_leader();
        }
    }

    /// One that was restarted leads no more, however soon it is back.
    fn leads(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.leadership.is_some())
    }

    /// A node begins a new term; what the old leader had under way lands before, or never.
    pub(crate) fn change_leader(&mut self) {
        let able: Vec<usize> = (0..self.nodes.len()).filter(|node| self.quorum(*node)).collect();
        let Some(node) = self.random.pick(&able) else {
            self.leader = None;
            return;
        };
        let under_way: Vec<u64> = self.proposals.keys().copied().collect();
        for number in under_way {
            if self.random.percent(30) {
                self.commit(number);
            }
        }
        self.depose_others(node);
        self.term += 1;
        self.leader = Some(node);
        self.count("a leader is elected");
        let term = self.term;
        self.note(|| format!("node {node} is elected for term {term}"));
        self.apply_on(node);
        self.break_links_of_node(node);
        let now = self.now;
        if let Some(leader) = self.nodes.get_mut(node) {
            leader.leadership = Some(Leadership::new(term, &leader.rows, leader.clock.monotonic_ms(now)));
        }
        self.propose(node, Command::Tick, Purpose::Barrier);
    }

    /// Former leaders hear of a later term, sooner or later.
    fn depose_others(&mut self, elected: usize) {
        let leading = self.nodes.iter().enumerate().filter(|(node, _)| *node != elected);
        let former: Vec<(usize, u64)> =
            leading.filter_map(|(node, replica)| Some((node, replica.leadership.as_ref()?.term))).collect();
        for (node, term) in former {
            let late = if self.faults_on { self.random.between(0, 15_000) } else { 1 };
            self.queue.push(self.now + late, Event::Depose { node, term });
        }
    }

    /// A node learns that it leads no more.
    pub(crate) fn depose(&mut self, node: usize, term: u64) {
        let Some(former) = self.nodes.get_mut(node) else { return };
        if former.leadership.as_ref().is_some_and(|leadership| leadership.term == term) {
            former.leadership = None;
            self.note(|| format!("node {node} learns that term {term} is over"));
            self.break_links_of_node(node);
        }
    }

    /// A node loses all that is not on disk: here, everything since its last checkpoint, which the log brings back.
    pub(crate) fn crash_node(&mut self, node: usize) {
        let Some(crashed) = self.nodes.get_mut(node).filter(|node| node.up) else { return };
        crashed.up = false;
        crashed.leadership = None;
        (crashed.applied, crashed.rows) = crashed.checkpoint.clone();
        self.note(|| format!("node {node} crashes"));
        self.break_links_of_node(node);
        let down = self.random.between(500, 10_000);
        self.queue.push(self.now + down, Event::StartNode(node));
    }

    /// A node starts and catches up.
    pub(crate) fn start_node(&mut self, node: usize) {
        let skips = self.bug == Some(Bug::ReplicaSkipsEntry);
        let Some(started) = self.nodes.get_mut(node).filter(|node| !node.up) else { return };
        started.up = true;
        if skips && started.applied > 0 {
            started.applied += 1;
        }
        self.note(|| format!("node {node} starts"));
        self.apply_on(node);
    }

    fn break_links_of_node(&mut self, node: usize) {
        for link in self.links.values_mut().filter(|link| link.node == node) {
            link.broken = true;
        }
    }
}

/// The log index of the entry that has this many before it.
fn revision_of(entries_before: usize) -> u64 {
    u64::try_from(entries_before).unwrap_or(u64::MAX).saturating_add(1)
}
