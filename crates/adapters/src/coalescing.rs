//! Callers who come at the same time share a call: while one is under way, those who come meanwhile gather for the next.
//!
//! Owns who goes together, in which order, and when the next call begins: a lone caller's at once, and another one's when
//! the call before it has returned. Must not know what is asked or how it is answered.
//!
//! Callers who were just answered together mostly come back together. Were the next call to begin with the first of them,
//! the others would wait a whole call for it, and half of all calls would be nearly empty. So after a shared call that
//! took long, the next one waits until as many have come as have gone, at most for a part of the time that a call takes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

/// How much is asked at once, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Questions in one call at most; at least 1.
    pub batch: usize,
    /// Questions that wait or are under way at most, over all keys; whoever comes then waits for a place.
    pub places: usize,
    /// Calls for one key that may be under way at the same time. More than one only where the last one stalls.
    pub lanes: usize,
    /// After which a call stalls, so that the next one need not wait for it.
    pub stalled: Duration,
    /// The least time of a shared call after which the next one waits for its callers to come back, at most for half of
    /// that time.
    pub gathers_after: Duration,
}

/// The longest wait for callers to come back.
const LONGEST_GATHERING: Duration = Duration::from_millis(5);

type Call<K, Q, A> = dyn Fn(K, Vec<Q>) -> BoxFuture<'static, Vec<A>> + Send + Sync;

/// Asks many callers' questions of one kind together. Questions of different keys never share a call.
///
/// Once a question is asked nobody can cancel it: a caller that goes away loses the answer alone.
pub struct Coalescer<K, Q, A> {
    shared: Arc<Shared<K, Q, A>>,
}

struct Shared<K, Q, A> {
    lines: Mutex<HashMap<K, Line<Q, A>>>,
    places: Semaphore,
    limits: Limits,
    call: Box<Call<K, Q, A>>,
    tasks: TaskTracker,
}

/// The questions of one key; there while any waits or is under way.
struct Line<Q, A> {
    waiting: VecDeque<(Q, oneshot::Sender<A>)>,
    lanes: usize,
    last_began: Instant,
    /// A lane that waits until so many stand in the line.
    gathering: Option<(usize, oneshot::Sender<()>)>,
}

impl<Q, A> Default for Line<Q, A> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), lanes: 0, last_began: Instant::now(), gathering: None }
    }
}

impl<K, Q, A> Coalescer<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    /// Asks by that call, which answers each question in its place, in tasks of that tracker.
    pub fn new<C>(limits: Limits, tasks: TaskTracker, call: C) -> Self
    where
        C: Fn(K, Vec<Q>) -> BoxFuture<'static, Vec<A>> + Send + Sync + 'static,
    {
        let places = limits.places.clamp(1, Semaphore::MAX_PERMITS);
        let limits = Limits { batch: limits.batch.max(1), lanes: limits.lanes.max(1), places, ..limits };
        let places = Semaphore::new(places);
        let call = Box::new(call);
        Self { shared: Arc::new(Shared { lines: Mutex::default(), places, limits, call, tasks }) }
    }

    /// The answer to one question; `None` where the call panicked.
    pub async fn ask(&self, key: K, question: Q) -> Option<A> {
        let _place = self.shared.places.acquire().await.expect("the semaphore is never closed");
        self.queue(key, question).await.ok()
    }

    /// The answers to some questions, in their order, in which they are also asked.
    pub async fn ask_all(&self, questions: Vec<(K, Q)>) -> Vec<Option<A>> {
        // More questions than there are places take all of them.
        let places = questions.len().min(self.shared.limits.places);
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let _places = self.shared.places.acquire_many(places).await.expect("the semaphore is never closed");
        let asked: Vec<_> = questions.into_iter().map(|(key, question)| self.queue(key, question)).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await.ok());
        }
        answers
    }

    fn queue(&self, key: K, question: Q) -> oneshot::Receiver<A> {
        let (caller, answer) = oneshot::channel();
        if self.shared.join(key.clone(), question, caller) {
            let shared = Arc::clone(&self.shared);
            self.shared.tasks.spawn(shared.fly(key));
        }
        answer
    }
}

impl<K, Q, A> Shared<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    /// Puts a question into its line; answers whether a new lane is to take it.
    fn join(&self, key: K, question: Q, caller: oneshot::Sender<A>) -> bool {
        let mut lines = self.lines();
        let line = lines.entry(key).or_default();
        line.waiting.push_back((question, caller));
        let come = line.waiting.len();
        if let Some((_, lane)) = line.gathering.take_if(|(wanted, _)| come >= *wanted) {
            // A lane that has waited long enough has gone by itself.
            let _ = lane.send(());
        }
        let begins =
            line.lanes == 0 || (line.lanes < self.limits.lanes && line.last_began.elapsed() > self.limits.stalled);
        if begins {
            line.lanes += 1;
            line.last_began = Instant::now();
        }
        begins
    }

    /// Call after call, until nobody waits.
    async fn fly(self: Arc<Self>, key: K) {
        while let Some((questions, callers)) = self.board(&key) {
            let (began, count) = (Instant::now(), callers.len());
            let asked = AssertUnwindSafe((self.call)(key.clone(), questions)).catch_unwind();
            // Of a call that panicked, the callers learn by losing their senders.
            for (caller, answer) in callers.into_iter().zip(asked.await.unwrap_or_default()) {
                // A caller that has gone away wants no answer.
                let _ = caller.send(answer);
            }
            let took = began.elapsed();
            if count > 1 && took >= self.limits.gathers_after {
                self.gather(&key, count, (took / 2).min(LONGEST_GATHERING)).await;
            } else {
                // Those who were just answered come back at once where they have more to ask.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until so many more stand in the line, or the next call would be full.
    async fn gather(&self, key: &K, more: usize, patience: Duration) {
        let Some(come) = self.expect(key, more) else {
            return;
        };
        if tokio::time::timeout(patience, come).await.is_err() {
            self.stop_expecting(key);
        }
    }

    /// What tells that they have come; `None` where there is nothing to wait for, or another lane waits.
    fn expect(&self, key: &K, more: usize) -> Option<oneshot::Receiver<()>> {
        let mut lines = self.lines();
        let line = lines.get_mut(key).filter(|line| line.gathering.is_none())?;
        let wanted = (line.waiting.len() + more).min(self.limits.batch);
        if line.waiting.len() >= wanted {
            return None;
        }
        let (lane, come) = oneshot::channel();
        line.gathering = Some((wanted, lane));
        Some(come)
    }

    fn stop_expecting(&self, key: &K) {
        if let Some(line) = self.lines().get_mut(key) {
            line.gathering = None;
        }
    }

    /// The questions of the next call with their callers; `None` ends the lane.
    fn board(&self, key: &K) -> Option<(Vec<Q>, Vec<oneshot::Sender<A>>)> {
        let mut lines = self.lines();
        let Entry::Occupied(mut line) = lines.entry(key.clone()) else {
            return None;
        };
        let here = line.get_mut();
        let count = here.waiting.len().min(self.limits.batch);
        if count == 0 {
            here.lanes -= 1;
            if here.lanes == 0 {
                line.remove();
            }
            return None;
        }
        here.last_began = Instant::now();
        Some(here.waiting.drain(..count).unzip())
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<K, Line<Q, A>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, Q, A> Clone for Coalescer<K, Q, A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, Q, A> fmt::Debug for Coalescer<K, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::mpsc;

    const LIMITS: Limits = Limits {
        batch: 4,
        places: 100,
        lanes: 1,
        stalled: Duration::from_hours(1),
        gathers_after: Duration::from_hours(1),
    };

    type Ticket = (char, Vec<u32>, oneshot::Sender<()>);

    /// A coalescer whose calls wait to be let through, and what it calls.
    fn gated(limits: Limits) -> (Coalescer<char, u32, u32>, mpsc::UnboundedReceiver<Ticket>) {
        let (sender, calls) = mpsc::unbounded_channel();
        let coalescer = Coalescer::new(limits, TaskTracker::new(), move |key, questions: Vec<u32>| {
            let (go, gone) = oneshot::channel();
            sender.send((key, questions.clone(), go)).unwrap();
            Box::pin(async move {
                gone.await.unwrap();
                assert!(!questions.contains(&13), "unlucky");
                questions.into_iter().map(|question| question * 10).collect()
            })
        });
        (coalescer, calls)
    }

    fn ask(coalescer: &Coalescer<char, u32, u32>, key: char, question: u32) -> tokio::task::JoinHandle<Option<u32>> {
        let coalescer = coalescer.clone();
        tokio::spawn(async move { coalescer.ask(key, question).await })
    }

    async fn waiting(coalescer: &Coalescer<char, u32, u32>, key: char, count: usize) {
        while coalescer.shared.lines().get(&key).map_or(0, |line| line.waiting.len()) < count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_comes_during_a_call_shares_the_next_in_the_order_of_coming() {
        let (coalescer, mut calls) = gated(LIMITS);
        let first = ask(&coalescer, 'a', 1);
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [1], "a lone caller does not wait for others");
        let mut others = Vec::new();
        for (place, question) in (2..=7).enumerate() {
            others.push(ask(&coalescer, 'a', question));
            waiting(&coalescer, 'a', place + 1).await;
        }
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(10));
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [2, 3, 4, 5], "no call is larger than the limit");
        go.send(()).unwrap();
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [6, 7]);
        go.send(()).unwrap();
        for (question, other) in (2..).zip(others) {
            assert_eq!(other.await.unwrap(), Some(question * 10));
        }
        coalescer.shared.tasks.close();
        coalescer.shared.tasks.wait().await;
        assert!(coalescer.shared.lines().is_empty(), "nothing is left of a line that nobody stands in");
    }

    #[tokio::test]
    async fn one_key_does_not_wait_for_another() {
        let (coalescer, mut calls) = gated(LIMITS);
        let slow = ask(&coalescer, 'a', 1);
        let (_, _, slow_go) = calls.recv().await.unwrap();
        let quick = ask(&coalescer, 'b', 2);
        let (key, _, go) = calls.recv().await.unwrap();
        assert_eq!(key, 'b');
        go.send(()).unwrap();
        assert_eq!(quick.await.unwrap(), Some(20));
        slow_go.send(()).unwrap();
        assert_eq!(slow.await.unwrap(), Some(10));
    }

    #[tokio::test]
    async fn a_call_goes_on_when_its_callers_have_gone() {
        let (coalescer, mut calls) = gated(LIMITS);
        let first = ask(&coalescer, 'a', 1);
        let (_, _, go) = calls.recv().await.unwrap();
        let second = ask(&coalescer, 'a', 2);
        waiting(&coalescer, 'a', 1).await;
        first.abort();
        second.abort();
        let _ = (first.await, second.await);
        go.send(()).unwrap();
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [2], "a question that was asked is asked to the end");
        go.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_told_to_its_own_callers_and_to_nobody_else() {
        let (coalescer, mut calls) = gated(LIMITS);
        let unlucky = ask(&coalescer, 'a', 13);
        let (_, _, go) = calls.recv().await.unwrap();
        let next = ask(&coalescer, 'a', 2);
        waiting(&coalescer, 'a', 1).await;
        go.send(()).unwrap();
        assert_eq!(unlucky.await.unwrap(), None);
        calls.recv().await.unwrap().2.send(()).unwrap();
        assert_eq!(next.await.unwrap(), Some(20));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_shared_call_the_next_waits_for_those_who_come_back_and_not_for_ever() {
        let limits = Limits { gathers_after: Duration::ZERO, ..LIMITS };
        let (coalescer, mut calls) = gated(limits);
        let lone = ask(&coalescer, 'a', 1);
        let (_, _, go) = calls.recv().await.unwrap();
        let pair = [ask(&coalescer, 'a', 2), ask(&coalescer, 'a', 3)];
        waiting(&coalescer, 'a', 2).await;
        go.send(()).unwrap();
        assert_eq!(lone.await.unwrap(), Some(10));
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions.len(), 2, "after a lone call nobody is waited for");
        std::thread::sleep(Duration::from_millis(4));
        go.send(()).unwrap();
        for one in pair {
            one.await.unwrap();
        }
        let first_back = ask(&coalescer, 'a', 4);
        waiting(&coalescer, 'a', 1).await;
        assert!(calls.try_recv().is_err(), "it waits for the second");
        let second_back = ask(&coalescer, 'a', 5);
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [4, 5]);
        std::thread::sleep(Duration::from_millis(4));
        go.send(()).unwrap();
        first_back.await.unwrap();
        second_back.await.unwrap();
        let only_one_back = ask(&coalescer, 'a', 6);
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [6], "time passes, and the other one has not come");
        go.send(()).unwrap();
        assert_eq!(only_one_back.await.unwrap(), Some(60));
    }

    #[tokio::test]
    async fn who_comes_after_a_call_has_stalled_gets_a_lane_of_its_own() {
        let limits = Limits { lanes: 2, stalled: Duration::ZERO, ..LIMITS };
        let (coalescer, mut calls) = gated(limits);
        let stalled = ask(&coalescer, 'a', 1);
        let (_, _, stalled_go) = calls.recv().await.unwrap();
        let next = ask(&coalescer, 'a', 2);
        let (_, questions, go) = calls.recv().await.unwrap();
        assert_eq!(questions, [2]);
        let third = ask(&coalescer, 'a', 3);
        waiting(&coalescer, 'a', 1).await;
        go.send(()).unwrap();
        assert_eq!(next.await.unwrap(), Some(20));
        calls.recv().await.unwrap().2.send(()).unwrap();
        assert_eq!(third.await.unwrap(), Some(30), "no more lanes than allowed; it waits for one");
        stalled_go.send(()).unwrap();
        assert_eq!(stalled.await.unwrap(), Some(10));
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_for_one() {
        let (coalescer, mut calls) = gated(Limits { places: 2, ..LIMITS });
        let first = ask(&coalescer, 'a', 1);
        let (_, _, go) = calls.recv().await.unwrap();
        let second = ask(&coalescer, 'a', 2);
        waiting(&coalescer, 'a', 1).await;
        let third = ask(&coalescer, 'a', 3);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(coalescer.shared.lines()[&'a'].waiting.len(), 1, "the third is not even in the line");
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(10));
        while let Some((_, _, go)) = calls.recv().await {
            go.send(()).unwrap();
            if third.is_finished() || coalescer.shared.lines().is_empty() {
                break;
            }
            tokio::task::yield_now().await;
            if coalescer.shared.places.available_permits() == 2 {
                break;
            }
        }
        assert_eq!(second.await.unwrap(), Some(20));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn under_load_everybody_gets_the_answer_to_the_own_question_by_few_calls() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let limits = Limits { batch: 64, ..LIMITS };
        let coalescer = Coalescer::new(limits, TaskTracker::new(), |(), questions: Vec<u32>| {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::task::yield_now().await;
                questions
            })
        });
        let ask = |start: u32| {
            let coalescer = coalescer.clone();
            tokio::spawn(async move {
                for question in start..start + 100 {
                    assert_eq!(coalescer.ask((), question).await, Some(question));
                }
            })
        };
        for task in (0..32).map(|caller| ask(caller * 1_000)).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(CALLS.load(Ordering::Relaxed) < 3_200, "at least some shared a call");
    }
}
