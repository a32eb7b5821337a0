//! Limits attempts that failed, per key and minute. Must not know what was attempted.

use std::collections::HashMap;
use std::sync::Mutex;

/// Length of the window in microseconds.
const WINDOW: i64 = 60_000_000;
/// The most keys that are watched; beyond it the windows that began first are forgotten.
const WATCHED: usize = 20_000;

/// Allows so many failures a minute for each key. An attempt is counted when it begins and taken back when it succeeds, so
/// that many at once get no further than many in a row.
#[derive(Debug)]
pub struct FailureLimit {
    limit: u32,
    windows: Mutex<HashMap<[u8; 32], Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: i64,
    attempts: u32,
}

impl FailureLimit {
    /// Of `limit` failures a minute; 0 turns it off.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, windows: Mutex::new(HashMap::new()) }
    }

    /// Counts an attempt that begins now (microseconds).
    ///
    /// # Errors
    /// The seconds until the next attempt may be made, at least 1: the limit is reached.
    ///
    /// # Panics
    /// Never: nothing panics while the lock is held.
    pub fn begin(&self, key: [u8; 32], now: i64) -> Result<(), u32> {
        if self.limit == 0 {
            return Ok(());
        }
        let mut windows = self.windows.lock().expect("nothing panics while the lock is held");
        if windows.len() >= WATCHED && !windows.contains_key(&key) {
            forget(&mut windows, now);
        }
        let window = windows.entry(key).or_insert(Window { began: now, attempts: 0 });
        if now - window.began >= WINDOW || now < window.began {
            *window = Window { began: now, attempts: 0 };
        }
        if window.attempts >= self.limit {
            let left = window.began + WINDOW - now;
            return Err(u32::try_from(left.div_euclid(1_000_000) + 1).unwrap_or(1));
        }
        window.attempts += 1;
        Ok(())
    }

    /// Takes an attempt back: it succeeded, or nobody could say.
    ///
    /// # Panics
    /// Never: nothing panics while the lock is held.
    pub fn forgive(&self, key: [u8; 32]) {
        let mut windows = self.windows.lock().expect("nothing panics while the lock is held");
        if let Some(window) = windows.get_mut(&key) {
            window.attempts = window.attempts.saturating_sub(1);
        }
    }
}

/// Drops what has ended, and the older half of the rest where that is not enough.
fn forget(windows: &mut HashMap<[u8; 32], Window>, now: i64) {
    windows.retain(|_, window| now - window.began < WINDOW && window.attempts > 0);
    if windows.len() < WATCHED {
        return;
    }
    let mut begins: Vec<i64> = windows.values().map(|window| window.began).collect();
    let middle = begins.len() / 2;
    let (_, median, _) = begins.select_nth_unstable(middle);
    let median = *median;
    windows.retain(|_, window| window.began > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_a_minute_and_for_one_key() {
        let limit = FailureLimit::new(3);
        for _ in 0..3 {
            assert_eq!(limit.begin([1; 32], 0), Ok(()));
        }
        assert_eq!(limit.begin([1; 32], 10_000_000), Err(51));
        assert_eq!(limit.begin([1; 32], WINDOW - 1), Err(1));
        assert_eq!(limit.begin([2; 32], 10_000_000), Ok(()));
        assert_eq!(limit.begin([1; 32], WINDOW), Ok(()));
    }

    #[test]
    fn a_success_is_no_failure() {
        let limit = FailureLimit::new(1);
        for _ in 0..10 {
            assert_eq!(limit.begin([1; 32], 0), Ok(()));
            limit.forgive([1; 32]);
        }
        assert_eq!(FailureLimit::new(0).begin([1; 32], 0), Ok(()), "0 is off");
    }

    #[test]
    fn a_flood_of_keys_is_forgotten_not_kept() {
        let limit = FailureLimit::new(1);
        for number in 0..=WATCHED {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(limit.begin(key, i64::try_from(number).unwrap()), Ok(()));
        }
        assert!(limit.windows.lock().unwrap().len() <= WATCHED);
    }
}
