//! Events from a seed.

use super::Dice;
use ferry_machine::id::JobId;
use ferry_machine::row::{Event, Transition};
use ferry_machine::view::State;

impl Dice {
    pub(super) fn event(&mut self) -> Event {
        let transitions = [
            Transition::Submitted,
            Transition::Executing,
            Transition::Completed,
            Transition::Failed,
            Transition::Canceled,
            Transition::Paused,
            Transition::Resumed,
            Transition::CleanedUp,
            Transition::LeftOver,
            Transition::Collected,
        ];
        let states = [State::Pending, State::Executing, State::Completed, State::Failed, State::Canceled];
        Event {
            job: JobId(self.id()),
            transition: self.pick(&transitions),
            state: self.pick(&states),
            at: self.stamp(),
            name: self.text(),
            collection_id: self.id(),
            reason: self.text(),
        }
    }
}
