//! How often values of which size were seen, in steps of two: what metrics tell as a histogram.

/// Steps; the first one holds 0 and 1, each other one what is beyond the one before and up to twice as much, the last
/// one also all that is larger.
const STEPS: usize = 24;

/// Counts of values by their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; STEPS],
    sum: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn note(&mut self, value: u64) {
        let step = (u64::BITS - value.saturating_sub(1).leading_zeros()) as usize;
        self.counts[step.min(STEPS - 1)] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// For each step but the last its largest value, and how many values are up to it.
    pub fn up_to(&self) -> impl Iterator<Item = (u64, u64)> {
        let steps = self.counts[..STEPS - 1].iter().enumerate();
        steps.scan(0, |total, (step, count)| {
            *total += count;
            Some((1 << step, *total))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_in_the_first_step_that_reaches_it(value: u64) {
            let mut histogram = Histogram::default();
            histogram.note(value);
            for (bound, count) in histogram.up_to() {
                prop_assert_eq!(count, u64::from(value <= bound));
            }
            prop_assert_eq!((histogram.count(), histogram.sum()), (1, value));
        }
    }

    #[test]
    fn steps_add_up() {
        let mut histogram = Histogram::default();
        [0, 1, 2, 3, 4, 5, 1 << 40].iter().for_each(|value| histogram.note(*value));
        let steps: Vec<_> = histogram.up_to().take(4).collect();
        assert_eq!(steps, [(1, 2), (2, 3), (4, 5), (8, 6)]);
        assert_eq!((histogram.count(), histogram.up_to().last()), (7, Some((1 << 22, 6))));
    }
}
