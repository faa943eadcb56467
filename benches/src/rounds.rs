//! Measures the subjects in turn, round by round. Ratios then stay comparable while the speed of the machine drifts.

use std::collections::BTreeMap;

use crate::{measure::median, subject::Subject};

/// Measurements of each subject in each round.
#[derive(Debug)]
pub(crate) struct Rounds<T>(BTreeMap<Subject, Vec<T>>);

/// The figure of one subject divided by that of another, round by round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl<T> Rounds<T> {
    /// Measures the subjects in the given number of rounds. Every second round reverses the order.
    ///
    /// # Errors
    ///
    /// The first error of a measurement, with its subject.
    pub(crate) async fn run(
        subjects: &[Subject],
        rounds: usize,
        measure: impl AsyncFn(Subject) -> Result<T, String>,
    ) -> Result<Self, String> {
        let mut figures: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for round in 0..rounds {
            let mut order = subjects.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            for subject in order {
                let figure = measure(subject).await.map_err(|error| format!("{}: {error}", subject.title()))?;
                figures.entry(subject).or_default().push(figure);
            }
        }
        Ok(Self(figures))
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.0.keys().copied()
    }

    /// Returns the last measurement of a subject, for figures that are the same in all rounds.
    pub(crate) fn last(&self, subject: Subject) -> Option<&T> {
        self.0.get(&subject)?.last()
    }

    pub(crate) fn median(&self, subject: Subject, figure: impl Fn(&T) -> f64) -> Option<f64> {
        Some(median(self.0.get(&subject)?.iter().map(figure).collect()))
    }

    pub(crate) fn ratio(&self, of: Subject, to: Subject, figure: impl Fn(&T) -> f64) -> Option<Ratio> {
        let pairs = self.0.get(&of)?.iter().zip(self.0.get(&to)?);
        let ratios: Vec<_> = pairs.map(|(of, to)| figure(of) / figure(to)).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Some(Ratio { median: median(ratios), least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn a_ratio_is_taken_within_each_round() {
        let rounds = Rounds(BTreeMap::from([(Subject::Sqjobs, vec![2.0, 20.0, 3.0]), (Subject::ByHand, vec![1.0, 10.0, 3.0])]));
        let ratio = rounds.ratio(Subject::Sqjobs, Subject::ByHand, |figure| *figure).expect("both were measured");
        assert_eq!([ratio.median, ratio.least, ratio.most], [2.0, 1.0, 2.0]);
        assert_eq!(rounds.median(Subject::Sqjobs, |figure| *figure), Some(3.0));
        assert!(rounds.ratio(Subject::Sqjobs, Subject::Python, |figure| *figure).is_none());
    }
}
