//! The choice among a rule's backends by weight.

use fairway_config::model::WeightedBackend;
use rand::Rng;

/// The weights of a rule's backends, added up when the route is committed.
///
/// ```
/// use fairway_waypoint::route::Weights;
/// use rand::SeedableRng;
///
/// let mut rng = rand::rngs::SmallRng::seed_from_u64(7);
/// assert_eq!(Weights::sum([0, 3, 0].into_iter()).draw(&mut rng), Some(1));
/// // All weigh nothing: there is no backend, and no even share.
/// assert_eq!(Weights::sum([0, 0].into_iter()).draw(&mut rng), None);
/// ```
#[derive(Debug)]
pub struct Weights {
    /// Entry `i` is the sum of the weights up to and including backend `i`; empty if there is nothing to draw.
    sums: Box<[u64]>,
    sole: Option<usize>,
}

// === impl Weights ===

impl Weights {
    /// Adds up the weights of a rule's backends.
    pub fn new(backends: &[WeightedBackend]) -> Self {
        Self::sum(backends.iter().map(|it| it.weight))
    }

    /// Adds up weights by their index; what weighs 0 is never drawn.
    pub fn sum(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let mut weighted =
            weights.clone().enumerate().filter(|(_, weight)| *weight > 0).map(|(index, _)| index);
        match (weighted.next(), weighted.next()) {
            (sole, None) => Self { sums: Box::default(), sole },
            _ => {
                let sums = weights.scan(0, |sum, weight| {
                    *sum += u64::from(weight);
                    Some(*sum)
                });
                Self { sums: sums.collect(), sole: None }
            }
        }
    }

    /// The index of a backend, drawn in proportion to the weights; none if there are no backends or all weigh nothing,
    /// which the API answers with 500.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        let Some(&total) = self.sums.last() else {
            return self.sole;
        };
        let drawn = rng.random_range(0..total);
        Some(self.sums.partition_point(|&sum| sum <= drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::{BackendTarget, Unresolved};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn shares(weights: &[u32]) -> Vec<u32> {
        let backend = |&weight: &u32| WeightedBackend {
            weight,
            target: BackendTarget::Unresolved(Unresolved::NotFound),
            filters: vec![],
        };
        let weights = Weights::new(&weights.iter().map(backend).collect::<Vec<_>>());
        let (mut rng, mut shares) = (SmallRng::seed_from_u64(1), vec![0; 4]);
        for _ in 0..10_000 {
            if let Some(index) = weights.draw(&mut rng) {
                shares[index] += 1;
            }
        }
        shares
    }

    #[test]
    fn what_weighs_nothing_is_never_chosen() {
        assert_eq!(shares(&[]), [0, 0, 0, 0]);
        assert_eq!(shares(&[0, 0]), [0, 0, 0, 0]);
        assert_eq!(shares(&[0, 3, 0]), [0, 10_000, 0, 0]);
        assert_eq!(shares(&[0, 1, 0, 1])[0], 0);
        assert_eq!(shares(&[0, 1, 0, 1])[2], 0);
    }

    #[test]
    fn shares_are_in_proportion_within_five_standard_deviations() {
        for weights in [vec![90, 10], vec![1, 1, 1, 1], vec![1_000_000, 500_000, 0, 1], vec![0, 7, 3]] {
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares(&weights).into_iter().zip(&weights) {
                let p = f64::from(*weight) / f64::from(total);
                let bound = 5.0 * (10_000.0 * p * (1.0 - p)).sqrt() + 1.0;
                assert!((f64::from(share) - 10_000.0 * p).abs() <= bound, "{weights:?}: {share}");
            }
        }
    }
}
