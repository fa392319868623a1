//! Sets of row ids. Milvus hands row ids out in blocks, so a set is kept as runs of neighbours: a few per segment, even
//! where a compaction shuffled its rows.

use std::collections::{BTreeMap, BTreeSet};

/// How many runs gather before neighbours among them are joined.
const LOOSE_RUNS_MAX: usize = 65_536;

/// From the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: i64,
    last: i64,
}

/// A set of row ids. Its runs ascend, and between two of them an id is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowIds {
    runs: Vec<Run>,
}

/// Row ids that arrive in any order.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    runs: Vec<Run>,
    joined: usize,
}

impl Gathering {
    pub(super) fn add(&mut self, id: i64) {
        match self.runs.last_mut() {
            Some(run) if run.last.checked_add(1) == Some(id) => run.last = id,
            Some(run) if run.first <= id && id <= run.last => {}
            Some(_) | None => self.runs.push(Run { first: id, last: id }),
        }
        self.join_some();
    }

    pub(super) fn add_all(&mut self, ids: &RowIds) {
        self.runs.extend(&ids.runs);
        self.join_some();
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn finish(mut self) -> RowIds {
        self.join();
        RowIds { runs: self.runs }
    }

    /// Joins when the loose runs are as many as the joined ones, so that each id is sorted a few times at most.
    fn join_some(&mut self) {
        if self.runs.len() >= self.joined * 2 + LOOSE_RUNS_MAX {
            self.join();
        }
    }

    fn join(&mut self) {
        self.runs.sort_unstable();
        self.runs.dedup_by(|next, run| {
            let touches = run.last.checked_add(1).is_none_or(|end| next.first <= end);
            if touches {
                run.last = run.last.max(next.last);
            }
            touches
        });
        self.joined = self.runs.len();
    }
}

impl FromIterator<i64> for RowIds {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        let mut gathering = Gathering::default();
        ids.into_iter().for_each(|id| gathering.add(id));
        gathering.finish()
    }
}

impl RowIds {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.last.abs_diff(run.first).saturating_add(1)).sum()
    }

    /// The ids of this set that are not in `other`.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let mut first = Some(run.first);
            for cut in other.from(run.first).take_while(|cut| cut.first <= run.last) {
                let Some(start) = first.filter(|start| *start <= cut.last) else { break };
                if start < cut.first {
                    left.push(Run { first: start, last: cut.first - 1 });
                }
                first = cut.last.checked_add(1);
            }
            if let Some(first) = first.filter(|first| *first <= run.last) {
                left.push(Run { first, last: run.last });
            }
        }
        Self { runs: left }
    }

    /// The ids that both have.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }

    /// Whether each id of this set is in one of the others.
    pub(super) fn is_within(&self, others: &[&Self]) -> bool {
        others.iter().fold(self.clone(), |left, other| left.minus(other)).is_empty()
    }

    /// The runs that end at `id` or later.
    fn from(&self, id: i64) -> impl Iterator<Item = &Run> {
        self.runs[self.runs.partition_point(|run| run.last < id)..].iter()
    }
}

/// For each set with an id in common with others: which ones.
pub(super) fn shared<'a>(sets: impl Iterator<Item = (i64, &'a RowIds)>) -> BTreeMap<i64, BTreeSet<i64>> {
    let mut runs: Vec<(Run, i64)> =
        sets.flat_map(|(owner, set)| set.runs.iter().map(move |run| (*run, owner))).collect();
    runs.sort_unstable();
    let mut shared: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    let mut open: Vec<(Run, i64)> = Vec::new();
    for (run, owner) in runs {
        open.retain(|(earlier, _)| earlier.last >= run.first);
        for (_, other) in &open {
            debug_assert_ne!(*other, owner, "runs of one set do not overlap");
            shared.entry(owner).or_default().insert(*other);
            shared.entry(*other).or_default().insert(owner);
        }
        open.push((run, owner));
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::{Strategy, proptest};

    fn set(ids: impl IntoIterator<Item = i64>) -> RowIds {
        ids.into_iter().collect()
    }

    fn ids() -> impl Strategy<Value = BTreeSet<i64>> {
        btree_set(0_i64..40, 0..30)
    }

    #[test]
    fn shuffled_neighbours_are_one_run() {
        let shuffled = set((0..100_000).map(|id| (id * 77_777) % 100_000));
        assert_eq!(shuffled, set(0..100_000));
        assert_eq!(shuffled.runs(), 1);
        assert_eq!(set([i64::MAX, i64::MIN, i64::MAX]).runs(), 2);
    }

    #[test]
    fn ids_at_the_ends_of_the_range_do_not_overflow() {
        let ends = set([i64::MIN, i64::MAX]);
        assert!(ends.minus(&ends).is_empty());
        assert_eq!(ends.minus(&set([i64::MAX])), set([i64::MIN]));
    }

    proptest! {
        #[test]
        fn sets_agree_with_those_of_the_standard_library(one in ids(), two in ids(), three in ids()) {
            let (a, b, c) = (set(one.clone()), set(two.clone()), set(three.clone()));
            proptest::prop_assert_eq!(a.minus(&b), set(one.difference(&two).copied()));
            proptest::prop_assert_eq!(a.and(&b), set(one.intersection(&two).copied()));
            let union: BTreeSet<i64> = two.union(&three).copied().collect();
            proptest::prop_assert_eq!(a.is_within(&[&b, &c]), one.is_subset(&union));
            let found = shared([(1, &a), (2, &b), (3, &c)].into_iter());
            for (at, x, other, y) in [(1, &one, 2, &two), (1, &one, 3, &three), (2, &two, 3, &three)] {
                let is_found = found.get(&at).is_some_and(|others| others.contains(&other));
                proptest::prop_assert_eq!(is_found, !x.is_disjoint(y));
            }
        }
    }
}
