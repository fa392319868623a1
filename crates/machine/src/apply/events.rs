//! Events after they were written: they expire in pages, the oldest first, and the webhook's progress is noted.

use super::keep::Desk;
use crate::id::EventId;
use crate::key::Key;
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::tables::Tables;
use crate::time::Time;

/// Removes the next page of events that happened before a moment, or that are more than are kept. From where the rest
/// begins, all are kept.
pub(super) fn expire(desk: &mut Desk<'_>, before: Time) -> Result<Outcome, Rejection> {
    for (id, event) in read::events(&desk.rows, desk.cluster.events.first, limits::EVENTS_PER_PAGE) {
        let events = &mut desk.cluster.events;
        if event.at.at >= before && events.kept <= limits::EVENTS_KEPT_MAX {
            break;
        }
        events.first = id.next();
        events.kept = events.kept.saturating_sub(1);
        desk.rows.delete(&Key::Event(id));
    }
    Ok(Outcome::Done)
}

/// The receiver of the webhook has taken every event before this one; what it has taken it keeps.
pub(super) fn note_delivered(desk: &mut Desk<'_>, before: EventId) -> Result<Outcome, Rejection> {
    let events = &mut desk.cluster.events;
    if before > events.last.next() {
        return Err(Rejection::Stale("no event was there to be delivered"));
    }
    events.delivered = events.delivered.max(before);
    Ok(Outcome::Done)
}
