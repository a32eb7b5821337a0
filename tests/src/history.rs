//! What clients saw of records that have versions, and whether one record in one place could have looked like that.
//!
//! A record's versions are a line on which every operation has its place: a write where its version begins, a read where
//! the version it saw holds. That, with the times at which the operations began and ended, decides a history; no search is
//! needed. It must not know how the history came about.

use std::collections::BTreeMap;

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It was looked at.
    Read,
    /// It was given a value that nobody else ever gives it.
    Write,
}

/// One operation of one client, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which record.
    pub record: usize,
    /// What was done.
    pub deed: Deed,
    /// When it was asked, on a clock that all clients share.
    pub begin: u64,
    /// When it was answered.
    pub end: u64,
    /// The version that it saw, or made.
    pub version: u64,
    /// The value at that version.
    pub value: String,
}

/// One change, as the feed tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which record.
    pub record: usize,
    /// The version that it made.
    pub version: u64,
    /// The value that it gave.
    pub value: String,
}

/// What cannot be in the history of one place; empty when all is well.
#[must_use]
pub fn faults(steps: &[Step], feed: &[Told]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut records: BTreeMap<usize, (Vec<&Step>, Vec<&Told>)> = BTreeMap::new();
    for step in steps {
        records.entry(step.record).or_default().0.push(step);
    }
    for told in feed {
        records.entry(told.record).or_default().1.push(told);
    }
    for (record, (steps, feed)) in records {
        let mut note = |fault: String| faults.push(format!("record {record}: {fault}"));
        check_feed(&feed, &mut note);
        check_values(&steps, &feed, &mut note);
        check_order(&steps, &mut note);
    }
    faults
}

/// The feed tells of versions 1, 2, 3 and so on.
fn check_feed(feed: &[&Told], note: &mut impl FnMut(String)) {
    for (told, expected) in feed.iter().zip(1..) {
        if told.version != expected {
            note(format!("the feed tells of version {} in the place of {expected}", told.version));
            return;
        }
    }
}

/// No two writes make one version, and every version has one value, which the feed tells of.
fn check_values(steps: &[&Step], feed: &[&Told], note: &mut impl FnMut(String)) {
    let told: BTreeMap<u64, &str> = feed.iter().map(|told| (told.version, told.value.as_str())).collect();
    let mut written: BTreeMap<u64, &Step> = BTreeMap::new();
    for step in steps {
        if step.deed == Deed::Write
            && let Some(other) = written.insert(step.version, step)
        {
            note(format!("{} and {} both made version {}", other.value, step.value, step.version));
        }
        match told.get(&step.version) {
            Some(value) if *value == step.value => {}
            Some(value) => note(format!("version {} was {value} and seen as {}", step.version, step.value)),
            None => note(format!("version {} was seen, and the feed does not tell of it", step.version)),
        }
    }
}

/// Whoever begins when another has ended sees what that one saw, or later; and makes what is later.
fn check_order(steps: &[&Step], note: &mut impl FnMut(String)) {
    let mut by_begin: Vec<&Step> = steps.to_vec();
    by_begin.sort_by_key(|step| step.begin);
    let mut by_end: Vec<&Step> = steps.to_vec();
    by_end.sort_by_key(|step| step.end);
    let (mut ended, mut newest) = (0, 0);
    for step in by_begin {
        while let Some(earlier) = by_end.get(ended).filter(|earlier| earlier.end < step.begin) {
            newest = newest.max(earlier.version);
            ended += 1;
        }
        let least = if step.deed == Deed::Write { newest + 1 } else { newest };
        if step.version < least {
            note(format!("{:?} of version {} begins after version {newest} was seen", step.deed, step.version));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(deed: Deed, begin: u64, end: u64, version: u64) -> Step {
        Step { record: 1, deed, begin, end, version, value: format!("v{version}") }
    }

    fn feed(versions: &[u64]) -> Vec<Told> {
        let told = |version: &u64| Told { record: 1, version: *version, value: format!("v{version}") };
        versions.iter().map(told).collect()
    }

    use Deed::{Read, Write};

    #[test]
    fn what_one_place_can_look_like_has_no_faults() {
        let steps = [
            step(Write, 0, 5, 1),
            // Both are under way at the same time: either may come first.
            step(Write, 6, 20, 3),
            step(Write, 7, 19, 2),
            step(Read, 8, 18, 1),
            step(Read, 8, 18, 3),
            step(Read, 21, 22, 3),
        ];
        assert_eq!(faults(&steps, &feed(&[1, 2, 3])), Vec::<String>::new());
        let elsewhere = Step { record: 2, version: 1, value: "v1".into(), ..step(Read, 30, 31, 1) };
        let told = Told { record: 2, version: 1, value: "v1".into() };
        assert_eq!(faults(&[&steps[..], &[elsewhere]].concat(), &[feed(&[1, 2, 3]), vec![told]].concat()).len(), 0);
    }

    #[track_caller]
    fn is_noticed(steps: &[Step], feed: &[Told], words: &str) {
        let found = faults(steps, feed);
        assert!(found.iter().any(|fault| fault.contains(words)), "{found:?}");
    }

    #[test]
    fn a_lost_update_is_noticed() {
        let lost = Step { value: "other".into(), ..step(Write, 0, 9, 2) };
        is_noticed(&[step(Write, 0, 5, 1), step(Write, 1, 9, 2), lost], &feed(&[1, 2]), "both made version 2");
    }

    #[test]
    fn a_read_that_goes_back_is_noticed() {
        let steps = [step(Write, 0, 5, 1), step(Write, 6, 9, 2), step(Read, 10, 11, 1)];
        is_noticed(&steps, &feed(&[1, 2]), "Read of version 1 begins after version 2");
        let steps = [step(Write, 0, 5, 1), step(Write, 6, 90, 2), step(Read, 10, 11, 2), step(Read, 12, 13, 1)];
        is_noticed(&steps, &feed(&[1, 2]), "Read of version 1 begins after version 2");
    }

    #[test]
    fn a_write_that_does_not_follow_what_was_before_it_is_noticed() {
        let steps = [step(Write, 0, 5, 2), step(Write, 6, 9, 1)];
        is_noticed(&steps, &feed(&[1, 2]), "Write of version 1 begins after version 2");
    }

    #[test]
    fn a_value_that_was_never_there_is_noticed() {
        let dirty = Step { value: "dirty".into(), ..step(Read, 6, 7, 1) };
        is_noticed(&[step(Write, 0, 5, 1), dirty], &feed(&[1]), "version 1 was v1 and seen as dirty");
    }

    #[test]
    fn a_feed_that_skips_or_repeats_or_forgets_is_noticed() {
        let steps = [step(Write, 0, 5, 1), step(Write, 6, 7, 2), step(Write, 8, 9, 3)];
        is_noticed(&steps, &feed(&[1, 3]), "tells of version 3 in the place of 2");
        is_noticed(&steps, &feed(&[1, 1, 2, 3]), "tells of version 1 in the place of 2");
        is_noticed(&steps, &feed(&[2, 1, 3]), "tells of version 2 in the place of 1");
        is_noticed(&steps, &feed(&[1, 2]), "version 3 was seen, and the feed does not tell of it");
    }

    #[test]
    fn a_version_that_is_passed_over_is_noticed() {
        let steps = [step(Write, 0, 5, 1), step(Write, 6, 7, 3)];
        is_noticed(&steps, &feed(&[1, 3]), "tells of version 3 in the place of 2");
    }
}
