//! Durations of the same thing, measured many times: what is told of them is taken from the sorted values themselves.

use std::time::Duration;

/// Measured durations, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distribution(Vec<Duration>);

impl Distribution {
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that `percent` of the values do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let distribution = Distribution::of((1..=200).rev().map(Duration::from_millis).collect());
        let millis = |percent| distribution.percentile(percent).as_millis();
        assert_eq!((millis(50), millis(99), distribution.max().as_millis()), (100, 198, 200));
        assert_eq!(Distribution::of(vec![Duration::from_secs(7)]).percentile(50), Duration::from_secs(7));
        assert_eq!(Distribution::default().percentile(99), Duration::ZERO);
    }
}
