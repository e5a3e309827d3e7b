//! How many different marks there were in the last hour.
//!
//! The hour moves in steps of 5 minutes, and the step that goes on comes on top of it: in no hour is there more than the limit.
//! Up to [`EXACT_MAX`] marks it is a set, each with the step at which it last came; beyond, a sketch for each step
//! (`sketch`: HyperLogLog, standard error 0.81%). Start at [`Distinct::add`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::sketch::Sketch;

/// By so much the hour moves at a time.
pub const STEP: Duration = Duration::from_secs(300);
/// An hour, and the step that goes on.
const STEPS: u64 = 13;
/// Up to so many marks are kept as they are, in some 2 MiB.
pub const EXACT_MAX: usize = 1 << 16;

/// The marks of the last hour.
#[derive(Debug, Default)]
pub struct Distinct {
    kept: Kept,
    step: u64,
}

#[derive(Debug)]
enum Kept {
    /// Each with the step at which it last came.
    Exact(HashMap<u64, u64>),
    Sketched(Box<Sketched>),
}

impl Default for Kept {
    fn default() -> Self {
        Self::Exact(HashMap::new())
    }
}

/// In 14 times 16 KiB at most.
#[derive(Debug, Default)]
struct Sketched {
    /// The oldest first.
    steps: VecDeque<(u64, Sketch)>,
    /// All of them together.
    all: Sketch,
    /// Something was refused. A sketch does not tell what it has seen from what it has not: until there is room again, all is.
    full: bool,
}

impl Distinct {
    /// Adds all of these (each once) if no more than `limit` differ then; else none of them. Gives whether they were added, and how
    /// many there are.
    pub fn add(&mut self, marks: &[u64], now: Duration, limit: u64) -> (bool, u64) {
        let step = now.as_secs() / STEP.as_secs();
        if step > self.step {
            self.step = step;
            self.forget(step, limit);
        }
        match &mut self.kept {
            Kept::Exact(known) => {
                let new = marks.iter().filter(|mark| !known.contains_key(mark)).count();
                let used = known.len() as u64;
                if used + new as u64 > limit {
                    return (false, used);
                }
                known.extend(marks.iter().map(|mark| (*mark, self.step)));
                let used = known.len();
                if used > EXACT_MAX {
                    self.kept = Kept::Sketched(Box::new(Sketched::of(known)));
                }
                (true, used as u64)
            }
            Kept::Sketched(sketched) => sketched.add(marks, self.step, limit),
        }
    }

    /// Lets go of what is older than an hour.
    fn forget(&mut self, step: u64, limit: u64) {
        match &mut self.kept {
            Kept::Exact(known) => {
                known.retain(|_, last| *last + STEPS > step);
                known.shrink_to(known.len().saturating_mul(2));
            }
            Kept::Sketched(sketched) => {
                sketched.steps.retain(|(of, _)| *of + STEPS > step);
                if sketched.steps.is_empty() {
                    self.kept = Kept::default();
                    return;
                }
                sketched.all = Sketch::default();
                for (_, one) in &sketched.steps {
                    sketched.all.join(one);
                }
                sketched.full &= sketched.all.estimate() >= limit;
            }
        }
    }
}

impl Sketched {
    fn of(known: &HashMap<u64, u64>) -> Self {
        let mut sketched = Self::default();
        let mut marks: Vec<(u64, u64)> = known.iter().map(|(mark, step)| (*step, *mark)).collect();
        marks.sort_unstable();
        for (step, mark) in marks {
            sketched.all.add(mark);
            sketched.of_step(step).add(mark);
        }
        sketched
    }

    /// That of a step; steps come in order.
    fn of_step(&mut self, step: u64) -> &mut Sketch {
        if self.steps.back().is_none_or(|(of, _)| *of != step) {
            self.steps.push_back((step, Sketch::default()));
        }
        let last = self.steps.len() - 1;
        match self.steps.get_mut(last) {
            Some((_, sketch)) => sketch,
            // There is one: it was put there just now.
            None => &mut self.all,
        }
    }

    fn add(&mut self, marks: &[u64], step: u64, limit: u64) -> (bool, u64) {
        let before = self.all.estimate();
        if self.full {
            return (false, before);
        }
        let undo: Vec<(usize, u8)> = marks.iter().filter_map(|mark| self.all.add(*mark)).collect();
        let used = self.all.estimate();
        if used > limit {
            undo.into_iter().rev().for_each(|(at, was)| self.all.put_back(at, was));
            self.full = true;
            return (false, before);
        }
        let sketch = self.of_step(step);
        for mark in marks {
            sketch.add(*mark);
        }
        (true, used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks of a hash.
    fn marks(range: std::ops::Range<u64>) -> Vec<u64> {
        use std::hash::{BuildHasher, RandomState};
        thread_local!(static HASHER: RandomState = RandomState::new());
        range.map(|number| HASHER.with(|hasher| hasher.hash_one(number))).collect()
    }

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn what_came_before_costs_nothing_and_what_is_too_much_is_added_not_at_all() {
        let mut distinct = Distinct::default();
        assert_eq!(distinct.add(&marks(0..7), at(0), 10), (true, 7));
        assert_eq!(distinct.add(&marks(0..7), at(1), 10), (true, 7));
        assert_eq!(distinct.add(&marks(5..11), at(2), 10), (false, 7));
        assert_eq!(distinct.add(&marks(5..10), at(3), 10), (true, 10));
        assert_eq!(distinct.add(&marks(0..10), at(4), 10), (true, 10), "at the limit what came before goes on");
        assert_eq!(distinct.add(&marks(10..11), at(4), 10), (false, 10));
        assert_eq!(distinct.add(&marks(10..11), at(4), 11), (true, 11), "a limit may be raised");
    }

    #[test]
    fn in_no_hour_is_there_more_than_the_limit() {
        let mut distinct = Distinct::default();
        assert_eq!(distinct.add(&marks(0..10), at(4), 10), (true, 10));
        for minute in [5, 30, 59, 60, 63, 64] {
            assert!(!distinct.add(&marks(10..11), at(minute), 10).0, "{minute}");
        }
        assert_eq!(distinct.add(&marks(10..20), at(65), 10), (true, 10));
        // What comes again stays.
        assert_eq!(distinct.add(&marks(10..12), at(100), 10), (true, 10));
        assert_eq!(distinct.add(&marks(20..28), at(130), 10), (true, 10));
        assert!(!distinct.add(&marks(30..31), at(131), 10).0);
    }

    #[test]
    fn a_sketch_takes_over_and_is_right_within_its_error() {
        let limit = 300_000;
        let mut distinct = Distinct::default();
        let step = 10_000;
        let mut added = 0;
        for start in (0..500_000).step_by(step) {
            let (fits, used) = distinct.add(&marks(start..start + step as u64), at(0), limit);
            if !fits {
                break;
            }
            added = start + step as u64;
            // Five times the standard error: once in two million.
            assert!(used.abs_diff(added) * 1000 <= added * 41, "{used} of {added}");
        }
        assert!(added.abs_diff(limit) * 1000 <= limit * 41 + 1000 * step as u64, "{added}");
        assert!(matches!(distinct.kept, Kept::Sketched(_)));
        assert!(!distinct.add(&marks(0..1), at(1), limit).0, "it does not know what came before");
        assert_eq!(distinct.add(&marks(0..9), at(66), limit), (true, 9), "and is a set again when it is empty");
    }

    #[test]
    fn what_a_sketch_has_seen_costs_nothing_and_goes_with_its_hour() {
        let mut distinct = Distinct::default();
        for quarter in 0..4 {
            assert!(distinct.add(&marks(quarter * 30_000..(quarter + 1) * 30_000), at(15 * quarter), 1_000_000).0);
        }
        let used = distinct.add(&marks(0..120_000), at(46), 1_000_000).1;
        assert!(used.abs_diff(120_000) < 5_000, "{used}");
        let (_, again) = distinct.add(&marks(0..60_000), at(50), 1_000_000);
        assert_eq!(again, used);
        // Of those only what came at minute 50 is left.
        let (_, later) = distinct.add(&marks(0..1), at(112), 1_000_000);
        assert!(later.abs_diff(60_000) < 2_500, "{later}");
    }
}
