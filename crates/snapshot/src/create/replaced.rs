//! Which segments of a partition others replace, by the row ids of each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::row_ids::RowIds;

/// What is known of a segment's rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Whether compaction may have made it.
    pub(super) is_compacted: bool,
    /// The fields, or groups of fields, that it has logs of.
    pub(super) fields: BTreeSet<i64>,
    pub(super) all: RowIds,
    /// Those of `all` that are deleted.
    pub(super) dead: RowIds,
}

impl Rows {
    /// Whether nothing is lost or comes back when `covers` stand in for this segment: they have its live rows, and what
    /// is deleted here is deleted there.
    fn is_replaced_by(&self, covers: &[&Self]) -> bool {
        let sets: Vec<&RowIds> = covers.iter().map(|cover| &cover.all).collect();
        !self.all.is_empty()
            && self.all.minus(&self.dead).is_within(&sets)
            && covers.iter().all(|cover| self.dead.minus(&cover.dead).and(&cover.all).is_empty())
    }
}

/// The segments to leave out, each with those of the others that have rows of it; `sharing` names the segments that
/// have a row in common. Two that remain and share rows are the error.
///
/// Segments leave one after the other, each for others that are still there, so two that are equal do not leave both.
/// Flushed ones leave first, as they replace nothing; then those with most dead rows, which the next compaction drops.
pub(super) fn replaced(
    segments: &BTreeMap<i64, Rows>,
    sharing: &BTreeMap<i64, BTreeSet<i64>>,
) -> Result<BTreeMap<i64, BTreeSet<i64>>, (i64, i64)> {
    let mut order: Vec<(&i64, &Rows)> = segments.iter().collect();
    order.sort_by_key(|(segment_id, rows)| (rows.is_compacted, Reverse(rows.dead.count()), **segment_id));
    let mut kept: BTreeSet<i64> = segments.keys().copied().collect();
    let neighbours = |segment_id: &i64| sharing.get(segment_id).into_iter().flatten().copied();
    for (segment_id, rows) in order {
        let covers: Vec<&Rows> = neighbours(segment_id)
            .filter(|other| kept.contains(other))
            .map(|other| &segments[&other])
            .filter(|other| other.is_compacted && other.fields.is_superset(&rows.fields))
            .collect();
        if rows.is_replaced_by(&covers) {
            kept.remove(segment_id);
        }
    }
    let pair = kept.iter().find_map(|one| Some((*one, neighbours(one).find(|other| kept.contains(other))?)));
    if let Some(pair) = pair {
        return Err(pair);
    }
    let left = segments.keys().filter(|segment_id| !kept.contains(segment_id));
    Ok(left.map(|id| (*id, neighbours(id).filter(|other| kept.contains(other)).collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::row_ids::shared;

    fn flushed(all: impl IntoIterator<Item = i64>, dead: impl IntoIterator<Item = i64>) -> Rows {
        let fields = BTreeSet::from([0, 1, 100]);
        Rows { is_compacted: false, fields, all: all.into_iter().collect(), dead: dead.into_iter().collect() }
    }

    fn compacted(all: impl IntoIterator<Item = i64>, dead: impl IntoIterator<Item = i64>) -> Rows {
        Rows { is_compacted: true, ..flushed(all, dead) }
    }

    /// Each segment that leaves, with those that have its rows.
    type Left = Vec<(i64, Vec<i64>)>;

    fn decided<const N: usize>(segments: [(i64, Rows); N]) -> Result<Left, (i64, i64)> {
        let segments = BTreeMap::from(segments);
        let sharing = shared(segments.iter().map(|(id, rows)| (*id, &rows.all)));
        let replaced = replaced(&segments, &sharing)?;
        Ok(replaced.into_iter().map(|(id, holders)| (id, holders.into_iter().collect())).collect())
    }

    #[test]
    fn a_chain_of_compactions_ends_in_its_last_segment_whatever_the_ids_are() {
        let chain = |c, e| {
            decided([
                (1, flushed(0..10, [3])),
                (2, flushed(10..20, [])),
                (4, flushed(20..30, [])),
                (c, compacted((0..20).filter(|id| *id != 3), [5])),
                (e, compacted((0..30).filter(|id| ![3, 5].contains(id)), [25])),
                (9, flushed(40..50, [])),
            ])
        };
        let expected = |c, e| {
            let mut replaced = vec![(1, vec![e]), (2, vec![e]), (4, vec![e]), (c, vec![e])];
            replaced.sort_unstable();
            Ok(replaced)
        };
        assert_eq!(chain(3, 5), expected(3, 5));
        assert_eq!(chain(5, 3), expected(5, 3));
    }

    #[test]
    fn rows_that_went_to_several_segments_are_found_in_all_of_them() {
        let spread = decided([
            (1, flushed(0..10, [])),
            (2, flushed(10..20, [])),
            (3, compacted((0..20).filter(|id| id % 2 == 0), [])),
            (4, compacted((0..20).filter(|id| id % 2 == 1), [])),
        ]);
        assert_eq!(spread, Ok(vec![(1, vec![3, 4]), (2, vec![3, 4])]));
    }

    #[test]
    fn equal_segments_do_not_leave_both() {
        assert_eq!(decided([(1, compacted(0..10, [])), (2, compacted(0..10, []))]), Ok(vec![(1, vec![2])]));
        // A delete that only the second knows.
        assert_eq!(decided([(1, compacted(0..10, [])), (2, compacted(0..10, [4]))]), Ok(vec![(1, vec![2])]));
        assert_eq!(decided([(2, compacted(0..10, [])), (1, compacted(0..10, [4]))]), Ok(vec![(2, vec![1])]));
    }

    #[test]
    fn of_two_that_hold_the_same_live_rows_the_one_with_the_dead_leaves() {
        let rows = decided([(3, compacted((0..10).filter(|id| *id != 4), [])), (5, compacted(0..10, [4]))]);
        assert_eq!(rows, Ok(vec![(5, vec![3])]));
    }

    #[test]
    fn a_row_that_would_be_lost_or_come_back_is_an_overlap() {
        // Expired rows, or a compaction that did not end.
        assert_eq!(decided([(1, flushed(0..10, [])), (2, compacted(0..9, []))]), Err((1, 2)));
        // A delete after the compaction that only the replaced segment has.
        assert_eq!(decided([(1, flushed(0..10, [4])), (2, compacted(0..10, []))]), Err((1, 2)));
        // Files of a field that are not there yet.
        let unfinished = Rows { fields: BTreeSet::from([0, 1]), ..compacted(0..10, []) };
        assert_eq!(decided([(1, flushed(0..10, [])), (2, unfinished)]), Err((1, 2)));
        // Flushed segments replace nothing.
        assert_eq!(decided([(1, flushed(0..10, [])), (2, flushed(0..10, []))]), Err((1, 2)));
    }

    #[test]
    fn a_segment_without_live_rows_leaves_and_one_that_never_had_any_stays() {
        assert_eq!(decided([(1, flushed(0..10, 0..10)), (2, compacted(20..30, []))]), Ok(vec![(1, vec![])]));
        assert_eq!(decided([(1, flushed([], [])), (2, compacted(20..30, []))]), Ok(vec![]));
    }
}
