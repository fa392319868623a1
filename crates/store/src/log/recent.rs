//! The entries at the end of the log, as they were appended: each is read right after, to be applied and by the leader to
//! be sent to every follower.

use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes of the entries that are kept, and one entry more.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// A part of the log without a gap, up to its end.
#[derive(Default)]
pub(super) struct Recent {
    entries: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// An entry was appended. One that leaves a gap is the first that is kept.
    pub(super) fn push(&mut self, index: u64, bytes: Bytes) {
        if self.entries.back().is_some_and(|(last, _)| last + 1 != index) {
            *self = Self::default();
        }
        self.bytes += bytes.len();
        self.entries.push_back((index, bytes));
        while self.bytes > BYTES_MAX && self.entries.len() > 1 {
            self.pop_first();
        }
    }

    /// Every entry from `index` on is gone.
    pub(super) fn truncate_from(&mut self, index: u64) {
        while let Some((_, bytes)) = self.entries.pop_back_if(|(last, _)| *last >= index) {
            self.bytes -= bytes.len();
        }
    }

    /// Every entry before `index` is gone.
    pub(super) fn purge_before(&mut self, index: u64) {
        while self.entries.front().is_some_and(|(first, _)| *first < index) {
            self.pop_first();
        }
    }

    /// What `Log::read` answers; `None` where the entry it begins with is not kept.
    pub(super) fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Option<Vec<(u64, Bytes)>> {
        let (first, _) = self.entries.front()?;
        let place = usize::try_from(from.checked_sub(*first)?).ok()?;
        if place >= self.entries.len() || from >= to_exclusive {
            return None;
        }
        let mut read = Vec::new();
        let mut bytes_read = 0;
        for (index, bytes) in self.entries.range(place..).take_while(|(index, _)| *index < to_exclusive) {
            bytes_read += bytes.len();
            read.push((*index, bytes.clone()));
            if bytes_read >= bytes_max {
                break;
            }
        }
        Some(read)
    }

    fn pop_first(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Recent};
    use bytes::Bytes;

    fn indexes(recent: &Recent) -> Vec<u64> {
        recent.entries.iter().map(|(index, _)| *index).collect()
    }

    #[test]
    fn what_is_kept_ends_where_the_log_does_and_has_no_gap() {
        let mut recent = Recent::default();
        (3..10).for_each(|index| recent.push(index, Bytes::from_static(b"entry")));
        recent.truncate_from(8);
        assert_eq!(indexes(&recent), [3, 4, 5, 6, 7]);
        recent.push(8, Bytes::from_static(b"other"));
        recent.purge_before(5);
        assert_eq!(indexes(&recent), [5, 6, 7, 8]);
        assert_eq!((recent.bytes, recent.read(4, 9, 100)), (20, None));
        recent.push(10, Bytes::from_static(b"behind a gap"));
        assert_eq!((indexes(&recent), recent.bytes), (vec![10], 12));
        recent.truncate_from(0);
        assert_eq!((indexes(&recent), recent.bytes, recent.read(0, 100, 100)), (vec![], 0, None));
    }

    #[test]
    fn what_is_kept_is_bounded_and_has_the_last_entry_however_large() {
        let mut recent = Recent::default();
        let quarter = Bytes::from(vec![7; BYTES_MAX / 4]);
        (0..10).for_each(|index| recent.push(index, quarter.clone()));
        assert_eq!(indexes(&recent), [6, 7, 8, 9]);
        recent.push(10, Bytes::from(vec![7; 2 * BYTES_MAX]));
        assert_eq!(indexes(&recent), [10]);
    }
}
