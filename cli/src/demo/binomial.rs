//! How far a random split may be from its weights before we say that it is wrong.

use std::ops::RangeInclusive;

/// Standard deviations allowed: a right split is called wrong once in some 20,000 runs.
const DEVIATIONS: f64 = 4.06;

/// The counts that `requests` independent choices with this probability may well give.
pub fn bounds(requests: u32, probability: f64) -> RangeInclusive<u32> {
    let mean = f64::from(requests) * probability;
    let spread = DEVIATIONS * (mean * (1.0 - probability)).sqrt();
    let (low, high) = ((mean - spread).floor().max(0.0), (mean + spread).ceil().min(f64::from(requests)));
    // Both are between 0 and `requests`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (low, high) = (low as u32, high as u32);
    low..=high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_the_mean_and_leave_out_another_split() {
        let ten_percent = bounds(1000, 0.1);
        assert!(ten_percent.contains(&100));
        assert!(!ten_percent.contains(&50) && !ten_percent.contains(&150));
    }

    #[test]
    fn certainty_has_no_room() {
        assert_eq!(bounds(1000, 0.0), 0..=0);
        assert_eq!(bounds(1000, 1.0), 1000..=1000);
    }
}
