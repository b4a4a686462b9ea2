//! A distribution in a report.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Count of values.
    pub count: u64,
    /// Half are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
    /// For a chart: how many of a million values are at most so much, in milliseconds.
    pub curve: Vec<(u32, f64)>,
}

impl Percentiles {
    /// Of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        let curve = if histogram.is_empty() {
            Vec::new()
        } else {
            CURVE.iter().map(|part| (*part, at(f64::from(*part) / 1e6))).collect()
        };
        Percentiles {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(histogram.max()),
            curve,
        }
    }
}

/// Even steps where a distribution is wide, and ever smaller ones towards its end.
const CURVE: [u32; 20] = [
    0, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000, 800_000, 900_000, 950_000, 970_000,
    980_000, 990_000, 995_000, 998_000, 999_000, 999_500, 999_900, 999_990,
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meter::{histogram, record};

    #[test]
    fn the_tail_is_not_lost() {
        let mut times = histogram();
        (1..=1_000).for_each(|ms| record(&mut times, Duration::from_millis(ms)));
        let p = Percentiles::of(&times);
        assert_eq!(p.count, 1_000);
        for (is, expected) in
            [(p.p50, 500.0), (p.p90, 900.0), (p.p99, 990.0), (p.p999, 999.0), (p.max, 1_000.0)]
        {
            assert!((is / expected - 1.0_f64).abs() < 0.002, "{is} for {expected}");
        }
        assert!(p.curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert_eq!(Percentiles::of(&histogram()), Percentiles::default());
    }
}
