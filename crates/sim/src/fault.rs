//! Faults: nodes and workers crash, are cut off and paused, leaders change, clocks jump, sources vanish.

use crate::clock::Clock;
use crate::queue::Event;
use crate::store::Damage;
use crate::world::World;
use ferry_machine::id::SegmentId;

/// What can go wrong at a moment, beside what messages, stores and calls suffer all the time.
const KINDS: u64 = 11;

impl World {
    /// One fault, and the next one is on its way.
    pub(crate) fn fault(&mut self) {
        let calm = self.random.between(self.scale.calm_ms / 4, self.scale.calm_ms);
        self.queue.push(self.now + calm, Event::Fault);
        let node = self.random.index(self.nodes.len());
        let process = self.random.index(self.processes.len());
        match self.random.next() % KINDS {
            0 => {
                self.count("fault: node crash");
                self.crash_node(node);
            }
            1 => {
                self.count("fault: leader crash");
                self.crash_node(self.leader.unwrap_or(node));
            }
            2 => {
                self.count("fault: node cut off or back");
                self.cut_or_join(node);
            }
            3 => {
                self.count("fault: leader changes");
                self.change_leader();
            }
            4 => {
                self.count("fault: wall clock jumps");
                let jump = self.random.between(0, 200_000_000);
                if let Some(node) = self.nodes.get_mut(node) {
                    node.clock.wall_ahead_ms = jump;
                }
            }
            5 => {
                self.count("fault: worker crash");
                self.crash_worker(process);
            }
            6 => self.pause_worker(process),
            7 => {
                self.count("fault: worker forgets");
                self.forget_runs(process);
            }
            8 => self.twin(process),
            9 => {
                self.count("fault: link breaks");
                self.break_link(process);
            }
            _ => self.damage_source(),
        }
    }

    fn cut_or_join(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.cut = !node.cut;
        }
    }

    /// A process ends; what it had in flight may land all the same. It is started again, with nothing.
    pub(crate) fn crash_worker(&mut self, id: usize) {
        let Some(process) = self.processes.get_mut(id).filter(|process| process.alive) else { return };
        process.alive = false;
        process.runs.clear();
        let name = process.name;
        let link = process.link;
        if let Some(link) = link.and_then(|link| self.links.get_mut(&link)) {
            link.broken = true;
        }
        self.note(|| format!("worker-{name} crashes"));
        if !self.processes.iter().any(|process| process.name == name && process.alive) {
            let down = self.random.between(100, 12_000);
            self.queue.push(self.now + down, Event::StartWorker(name));
        }
    }

    /// Nothing of a process runs for a while; its clock and its writes in flight go on.
    fn pause_worker(&mut self, id: usize) {
        let pause = self.random.between(1_000, 25_000);
        let now = self.now;
        let Some(process) = self.processes.get_mut(id).filter(|process| process.alive) else { return };
        process.paused_until = now + pause;
        self.count("fault: worker paused");
    }

    /// A process forgets the attempts of which it has said nothing yet, as if their assignments had never come.
    fn forget_runs(&mut self, id: usize) {
        let Some(process) = self.processes.get_mut(id) else { return };
        let idle: Vec<_> = process.runs.iter().filter(|(_, run)| run.has_said_nothing()).map(|(run, _)| *run).collect();
        idle.iter().for_each(|run| {
            process.runs.remove(run);
        });
        self.break_link(id);
    }

    /// A worker is started anew while the old process still runs.
    fn twin(&mut self, id: usize) {
        let Some(process) = self.processes.get(id).filter(|process| process.alive) else { return };
        let name = process.name;
        if self.processes.iter().filter(|process| process.name == name && process.alive).count() < 2 {
            self.count("fault: worker has a twin");
            self.start_worker(name);
        }
    }

    fn break_link(&mut self, id: usize) {
        let link = self.processes.get(id).and_then(|process| process.link);
        if let Some(link) = link.and_then(|link| self.links.get_mut(&link)) {
            link.broken = true;
        }
    }

    fn damage_source(&mut self) {
        let segment = i64::try_from(self.random.between(100, 200)).unwrap_or_default();
        let damage = if self.random.percent(50) { Damage::Gone } else { Damage::Short };
        let key = (SegmentId(segment), self.random.next() % 2);
        if self.store.damaged.insert(key, damage).is_none() {
            self.store.damaged_at.insert(key, self.now);
        }
        self.count("fault: source lost or cut short");
    }

    /// Every fault ends: nodes and workers run, twins are gone, clocks are as they are.
    pub(crate) fn heal(&mut self) {
        self.note(|| "the faults end".to_owned());
        self.faults_on = false;
        for node in 0..self.nodes.len() {
            self.start_node(node);
            if let Some(node) = self.nodes.get_mut(node) {
                node.cut = false;
            }
        }
        self.change_leader();
        for process in &mut self.processes {
            process.paused_until = 0;
        }
        for name in 0..self.scale.workers {
            let alive: Vec<usize> = (0..self.processes.len())
                .filter(|id| self.processes.get(*id).is_some_and(|process| process.name == name && process.alive))
                .collect();
            let twins = alive.len().saturating_sub(1);
            alive.into_iter().take(twins).for_each(|twin| self.crash_worker(twin));
        }
    }

    /// A clock of its own for everything that is started.
    pub(crate) fn clock(&mut self) -> Clock {
        Clock::new(&mut self.random)
    }
}
