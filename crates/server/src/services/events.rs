//! WatchEvents: the events of the rows of the node it is connected to, in pages, and then as they are applied.
//!
//! Invariant: what one watch sends is every event that was asked for between its first place and the last place it
//! named, once and in order; where some of them have expired, it ends and says so.

use super::Services;
use super::news::{News, Tells};
use crate::reads::Reading;
use crate::status::{Violations, of_field};
use crate::wire;
use ferry_machine::id::EventId;
use ferry_machine::row::{Event, EventLog};
use ferry_machine::view;
use ferry_proto::v1;
use futures::Stream;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// Events of one response, so that none is larger than clients take: an event has at most about 2.5 KiB.
const EVENTS_PER_RESPONSE_MAX: usize = 500;
/// A watch says how far it is at least this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What WatchEvents answers with.
pub(super) type EventStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

pub(super) async fn watch(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::WatchEventsRequest,
) -> Result<Response<EventStream>, Status> {
    let filter = Filter::of(request)?;
    let (mut news, reading) = News::open(services, metadata, request.consistency, Tells::Changes).await?;
    let mut from = beginning(&reading, request)?;
    let (stamp, first) = (reading.stamp, read(&reading, &filter, &mut from)?);
    let stream = async_stream::try_stream! {
        yield first.response;
        let (mut more, mut told_at) = (first.more, Instant::now());
        loop {
            // Whatever else changes the rows, or is not asked for, puts off no word of how far the watch is.
            let until = told_at + PROGRESS_INTERVAL;
            // The rows are read anew for each page, so that no watch holds old ones while it waits.
            let waited = if more { Ok(Some(Ok(news.look()))) } else { timeout_at(until, news.next()).await };
            let page = match waited {
                Ok(Some(reading)) => read(&reading?, &filter, &mut from)?,
                Ok(None) => break,
                Err(_) => read(&news.look(), &filter, &mut from)?,
            };
            more = page.more;
            if !page.response.events.is_empty() || Instant::now() >= until {
                yield page.response;
                told_at = Instant::now();
            }
        }
    };
    Ok(stamp.answer(Box::pin(stream)))
}

/// Which events are asked for.
struct Filter {
    job_id: i64,
    collection_id: i64,
}

impl Filter {
    fn of(request: &v1::WatchEventsRequest) -> Result<Self, Status> {
        let mut violations = Violations::default();
        for (field, id) in [("job_id", request.job_id), ("collection_id", request.collection_id)] {
            violations.require(id >= 0, field, || format!("is {id}: name one by its positive id, or 0 for all"));
        }
        violations.require(request.from_revision.is_some() || request.from_ordinal == 0, "from_ordinal", || {
            "is given without from_revision, of which it is a part: give both".to_owned()
        });
        violations.into_result()?;
        Ok(Self { job_id: request.job_id, collection_id: request.collection_id })
    }

    fn admits(&self, event: &Event) -> bool {
        (self.job_id == 0 || event.job.0 == self.job_id)
            && (self.collection_id == 0 || event.collection_id == self.collection_id)
    }
}

/// The first place of a watch.
fn beginning(reading: &Reading, request: &v1::WatchEventsRequest) -> Result<EventId, Status> {
    let log = log_of(reading);
    let Some(revision) = request.from_revision else { return Ok(log.first) };
    let from = EventId { revision, ordinal: request.from_ordinal };
    let applied = reading.stamp.revision;
    if from <= EventId::at(applied.saturating_add(1)) {
        return Ok(from);
    }
    let message = format!("revision {revision} has not come yet, this node has {applied}");
    let status = if request.consistency == i32::from(v1::Consistency::Stale) {
        Status::unavailable(format!("{message}: ask another node, or without CONSISTENCY_STALE"))
    } else {
        let message = format!(
            "{message}, and so has the cluster: was it restored from an older backup? Begin at {applied}, and expect \
             what happened before to be told otherwise"
        );
        of_field(Code::OutOfRange, "from_revision", message)
    };
    Err(reading.refusal(status))
}

fn log_of(reading: &Reading) -> EventLog {
    view::cluster(&reading.view).map(|cluster| cluster.events).unwrap_or_default()
}

/// One response, and whether the next one can be read from the same rows.
struct Page {
    response: v1::WatchEventsResponse,
    more: bool,
}

/// The next events, and a step on to behind them.
fn read(reading: &Reading, filter: &Filter, from: &mut EventId) -> Result<Page, Status> {
    expired(log_of(reading), *from).map_err(|status| reading.refusal(status))?;
    let found = view::events(&reading.view, *from, EVENTS_PER_RESPONSE_MAX);
    reading.check()?;
    let more = found.len() == EVENTS_PER_RESPONSE_MAX;
    let revision = reading.stamp.revision;
    // Rows hold whole entries, so all events up to their revision are among them.
    let behind = if more { found.last().map(|(id, _)| id.next()) } else { None };
    *from = behind.unwrap_or_else(|| EventId::at(revision.saturating_add(1)).max(*from));
    let asked = found.iter().filter(|(_, event)| filter.admits(event));
    let events = asked.map(|(id, event)| wire::job_event(*id, event)).collect();
    let response =
        v1::WatchEventsResponse { events, next_revision: from.revision, next_ordinal: from.ordinal, revision };
    Ok(Page { response, more })
}

fn expired(log: EventLog, from: EventId) -> Result<(), Status> {
    if from >= log.first {
        return Ok(());
    }
    // Of a revision that has lost some of its events, none is promised.
    let whole = if log.first.ordinal == 0 { log.first.revision } else { log.first.revision.saturating_add(1) };
    let reason = format!(
        "events from {from} on have expired: the first revision from which all are kept is {whole}; begin there, and \
         see ListJobs for what is now"
    );
    Err(of_field(Code::OutOfRange, "from_revision", reason))
}

#[cfg(test)]
mod tests {
    use super::expired;
    use ferry_machine::id::EventId;
    use ferry_machine::row::EventLog;
    use tonic::Code;

    #[test]
    fn what_expired_is_out_of_range_and_the_first_whole_revision_is_named() {
        let log = |first| EventLog { first, ..EventLog::default() };
        assert!(expired(log(EventId::FIRST), EventId::FIRST).is_ok(), "nothing has expired yet");
        let whole = log(EventId { revision: 9, ordinal: 0 });
        let broken = log(EventId { revision: 9, ordinal: 2 });
        for (log, from, first) in [(whole, EventId::at(8), 9), (broken, EventId::at(9), 10)] {
            let status = expired(log, from).expect_err("it has expired");
            assert_eq!(status.code(), Code::OutOfRange);
            assert!(status.message().contains(&format!("all are kept is {first}")), "{}", status.message());
        }
        assert!(expired(whole, EventId::at(9)).is_ok());
        assert!(expired(broken, EventId { revision: 9, ordinal: 2 }).is_ok(), "a watch may have come that far");
    }
}
