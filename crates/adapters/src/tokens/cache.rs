//! A bounded map whose entries end: what was verified or looked up a moment ago. Must not know what it keeps.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

/// Keeps at most `capacity` entries, each until an instant of its own. The least recently used go first, in halves.
#[derive(Debug)]
pub struct ExpiringCache<K, V> {
    half: usize,
    state: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, (V, i64)>,
    old: HashMap<K, (V, i64)>,
}

impl<K: Eq + Hash + Clone, V: Clone> ExpiringCache<K, V> {
    /// An empty cache for so many entries, at least two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            half: (capacity / 2).max(1),
            state: Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() }),
        }
    }

    /// The value of that key, unless it ended at or before `now`. Instants are whatever the caller counts, always the same.
    ///
    /// # Panics
    /// Never: nothing panics while the lock is held.
    pub fn get(&self, key: &K, now: i64) -> Option<V> {
        let mut state = self.state.lock().expect("nothing panics while the lock is held");
        if let Some((value, until)) = state.young.get(key) {
            return (now < *until).then(|| value.clone());
        }
        let (value, until) = state.old.remove(key)?;
        if now >= until {
            return None;
        }
        state.put(self.half, key.clone(), value.clone(), until);
        Some(value)
    }

    /// Keeps a value until that instant.
    ///
    /// # Panics
    /// Never: nothing panics while the lock is held.
    pub fn put(&self, key: K, value: V, until: i64) {
        let mut state = self.state.lock().expect("nothing panics while the lock is held");
        state.old.remove(&key);
        state.put(self.half, key, value, until);
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn put(&mut self, half: usize, key: K, value: V, until: i64) {
        if self.young.len() >= half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (value, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_until_its_end_and_not_at_it() {
        let cache = ExpiringCache::new(10);
        cache.put("a", 1, 100);
        assert_eq!(cache.get(&"a", 99), Some(1));
        assert_eq!(cache.get(&"a", 100), None);
        assert_eq!(cache.get(&"b", 0), None);
        cache.put("a", 2, 200);
        assert_eq!(cache.get(&"a", 150), Some(2));
    }

    #[test]
    fn it_never_holds_more_than_its_capacity_and_keeps_what_is_used() {
        let cache = ExpiringCache::new(8);
        cache.put(0, 0, 1_000);
        for key in 1..100 {
            cache.put(key, key, 1_000);
            assert_eq!(cache.get(&0, 0), Some(0), "used at every step");
            let state = cache.state.lock().unwrap();
            assert!(state.young.len() + state.old.len() <= 8);
        }
        assert_eq!(cache.get(&1, 0), None);
    }
}
