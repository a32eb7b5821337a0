//! One event on its way to one endpoint: when it is tried, and when it is given up. A pure state machine; must not know
//! clocks, randomness or how anything is sent.

use std::time::Duration;

use super::{EventName, WebhookId};
use crate::facets::labels;
use crate::ports::{LogEntry, LoggedEvent};
use crate::{CustomerId, OrganizationId, Sequence, Timestamp};

/// How long after the failure before it each attempt comes, the first after the event itself: ten in all.
pub const DELAYS: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// The longest wait that an endpoint may ask for by `Retry-After`.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is to be tried, not before then.
    Pending {
        /// The earliest instant of the next attempt.
        next_at: Timestamp,
    },
    /// The endpoint took it.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// It was given up; only a replay tries it again.
    Parked {
        /// When.
        at: Timestamp,
    },
}

impl DeliveryState {
    /// The state without its instant.
    #[must_use]
    pub const fn status(self) -> DeliveryStatus {
        match self {
            Self::Pending { .. } => DeliveryStatus::Pending,
            Self::Delivered { .. } => DeliveryStatus::Delivered,
            Self::Parked { .. } => DeliveryStatus::Parked,
        }
    }

    /// Its instant: that of the next attempt, or when it ended.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        match self {
            Self::Pending { next_at: at } | Self::Delivered { at } | Self::Parked { at } => at,
        }
    }
}

labels!(
    /// A [`DeliveryState`] without its instant.
    DeliveryStatus {
        /// To be tried.
        Pending = "pending",
        /// Taken.
        Delivered = "delivered",
        /// Given up.
        Parked = "parked",
    }
);

impl DeliveryStatus {
    /// The state of that instant.
    #[must_use]
    pub const fn at(self, at: Timestamp) -> DeliveryState {
        match self {
            Self::Pending => DeliveryState::Pending { next_at: at },
            Self::Delivered => DeliveryState::Delivered { at },
            Self::Parked => DeliveryState::Parked { at },
        }
    }
}

labels!(
    /// Why an attempt failed. Says nothing that the endpoint answered.
    FailureKind {
        /// It answered neither 2xx, 3xx nor 410.
        Status = "status",
        /// It answered 410: nobody is there any more.
        Gone = "gone",
        /// It answered 3xx; redirects are not followed.
        Redirect = "redirect",
        /// Its name has no address.
        Name = "name",
        /// Its address is one that must not be called.
        Address = "address",
        /// No connection came about.
        Connect = "connect",
        /// No trust in its certificate, or no TLS at all.
        Tls = "tls",
        /// It took too long.
        Timeout = "timeout",
        /// The connection broke, or what came was no HTTP.
        Protocol = "protocol",
    }
);

/// One attempt of a delivery, as the delivery's log keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The status code of the answer, 100 to 599; `None` where none came.
    pub status: Option<u16>,
    /// Why it failed; `None` for a success.
    pub failure: Option<FailureKind>,
}

impl Attempt {
    /// What it came to.
    #[must_use]
    pub const fn outcome(&self) -> AttemptOutcome {
        match self.failure {
            None => AttemptOutcome::Delivered,
            Some(FailureKind::Gone) => AttemptOutcome::Gone,
            Some(
                FailureKind::Status
                | FailureKind::Redirect
                | FailureKind::Name
                | FailureKind::Address
                | FailureKind::Connect
                | FailureKind::Tls
                | FailureKind::Timeout
                | FailureKind::Protocol,
            ) => AttemptOutcome::Failed,
        }
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The endpoint took it.
    Delivered,
    /// It may be tried again.
    Failed,
    /// Nobody is there any more: it is given up at once, and the endpoint is to be disabled.
    Gone,
}

/// Where a delivery stands after an attempt that ended at `now`, the `attempts`-th before it having failed (0 for the
/// first). A failed one is tried again after the next of [`DELAYS`], lengthened by `jitter` (0 not at all, 65,535
/// almost a tenth), or after `retry_after` where that is later (at most [`LONGEST_RETRY_AFTER`]); the tenth is the last.
#[must_use]
pub fn after_attempt(
    attempts: u16,
    outcome: AttemptOutcome,
    now: Timestamp,
    retry_after: Option<Duration>,
    jitter: u16,
) -> DeliveryState {
    match outcome {
        AttemptOutcome::Delivered => DeliveryState::Delivered { at: now },
        AttemptOutcome::Gone => DeliveryState::Parked { at: now },
        AttemptOutcome::Failed => match DELAYS.get(usize::from(attempts) + 1) {
            None => DeliveryState::Parked { at: now },
            Some(delay) => {
                let lengthened = *delay + *delay * u32::from(jitter) / 655_360;
                let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                DeliveryState::Pending { next_at: now.later_by(lengthened.max(asked)) }
            }
        },
    }
}

/// A delivery whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// To whom.
    pub endpoint: WebhookId,
    /// What.
    pub entry: LogEntry,
    /// How many attempts have failed, since it was enqueued or last replayed.
    pub attempts: u16,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The delivery's endpoint.
    pub endpoint: WebhookId,
    /// The delivery's event.
    pub sequence: Sequence,
    /// How many attempts the delivery has to have had for this to apply; one more afterwards.
    pub attempts_before: u16,
    /// The attempt.
    pub attempt: Attempt,
    /// Where the delivery stands after it.
    pub next: DeliveryState,
}

/// Which deliveries of an endpoint are wanted, newest event first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// The tenant.
    pub organization: OrganizationId,
    /// The endpoint.
    pub endpoint: WebhookId,
    /// Only those that stand so.
    pub status: Option<DeliveryStatus>,
    /// Only those of events before this one.
    pub before: Option<Sequence>,
    /// The greatest number of deliveries, 1 to 100.
    pub limit: u8,
}

/// A delivery with its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The event's place in the organization's order of commits.
    pub sequence: Sequence,
    /// The event's kind.
    pub kind: EventName,
    /// The customer that the event is about.
    pub customer: Option<CustomerId>,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts have failed or succeeded, since it was enqueued or last replayed.
    pub attempts: u16,
    /// Every attempt, oldest first; those before a replay included.
    pub log: Vec<Attempt>,
}

/// Which events are to be delivered to an endpoint once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The tenant.
    pub organization: OrganizationId,
    /// The endpoint.
    pub endpoint: WebhookId,
    /// The first event.
    pub from: Sequence,
    /// The last event; those after the endpoint's position are enqueued anyway, and left alone.
    pub to: Sequence,
    /// From when on they are due.
    pub now: Timestamp,
}

impl Replay {
    /// How many deliveries one replay takes.
    pub const LIMIT: u16 = 10_000;
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// How many deliveries are pending by it, at most [`Replay::LIMIT`].
    pub count: u64,
    /// The last of them where there may be more in the range: the rest is replayed from the one after it.
    pub cut_after: Option<Sequence>,
}

impl LoggedEvent {
    /// The name of its kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Customer(event) => event.kind().name(),
            Self::Record(event) => event.kind.name(),
        }
    }

    /// The customer it is about, where it is known by number.
    #[must_use]
    pub const fn customer(&self) -> Option<CustomerId> {
        match self {
            Self::Customer(event) => Some(event.customer()),
            Self::Record(event) => event.customer,
        }
    }

    /// What is delivered to one endpoint in the order of commits: the events of one customer, and of others those of
    /// one subject, whatever kind of record it is.
    #[must_use]
    pub fn lane(&self) -> String {
        match (self.customer(), self) {
            (Some(customer), _) => format!("c{customer}"),
            (None, Self::Record(event)) => format!("s{}", event.subject),
            (None, Self::Customer(event)) => format!("c{}", event.customer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microseconds(microseconds).unwrap()
    }

    fn wait(state: DeliveryState, now: Timestamp) -> Option<i64> {
        match state {
            DeliveryState::Pending { next_at } => Some(next_at.microseconds() - now.microseconds()),
            DeliveryState::Delivered { .. } | DeliveryState::Parked { .. } => None,
        }
    }

    #[test]
    fn an_endpoint_that_never_answers_is_tried_ten_times_by_the_published_schedule() {
        let mut now = at(1_779_440_400_000_000);
        let mut waits = Vec::new();
        for attempts in 0.. {
            match after_attempt(attempts, AttemptOutcome::Failed, now, None, 0) {
                DeliveryState::Pending { next_at } => {
                    waits.push((next_at.microseconds() - now.microseconds()) / 1_000_000);
                    now = next_at;
                }
                state @ (DeliveryState::Delivered { .. } | DeliveryState::Parked { .. }) => {
                    assert_eq!(state, DeliveryState::Parked { at: now });
                    assert_eq!(attempts + 1, 10, "ten attempts in all");
                    break;
                }
            }
        }
        let hour = 3600;
        assert_eq!(
            waits,
            [5, 300, 1800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour],
            "after the one at once"
        );
    }

    #[test]
    fn labels_and_instants_make_up_a_state() {
        for status in DeliveryStatus::ALL {
            let state = status.at(at(7));
            assert_eq!((state.status(), state.at()), (*status, at(7)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn jitter_lengthens_a_wait_by_less_than_a_tenth(attempts in 0..9_u16, jitter: u16, now in 0..4_000_000_000_000_000_i64) {
            let delay = i64::try_from(DELAYS[usize::from(attempts) + 1].as_micros()).unwrap();
            let wait = wait(after_attempt(attempts, AttemptOutcome::Failed, at(now), None, jitter), at(now)).unwrap();
            prop_assert!(wait >= delay && (wait - delay) * 10 < delay, "{wait} of {delay}");
            if jitter == 0 {
                prop_assert_eq!(wait, delay);
            }
        }

        #[test]
        fn the_later_of_schedule_and_retry_after_counts(attempts in 0..9_u16, jitter: u16, asked in 0..200_000_u64) {
            let now = at(0);
            let retry_after = Duration::from_secs(asked);
            let plain = wait(after_attempt(attempts, AttemptOutcome::Failed, now, None, jitter), now).unwrap();
            let wait = wait(after_attempt(attempts, AttemptOutcome::Failed, now, Some(retry_after), jitter), now).unwrap();
            let honoured = i64::try_from(asked.min(86_400)).unwrap() * 1_000_000;
            prop_assert_eq!(wait, plain.max(honoured));
        }

        #[test]
        fn a_success_ends_it_and_so_does_a_410(attempts: u16, jitter: u16, now in 0..4_000_000_000_000_000_i64) {
            let after = |outcome| after_attempt(attempts, outcome, at(now), Some(Duration::from_secs(9)), jitter);
            prop_assert_eq!(after(AttemptOutcome::Delivered), DeliveryState::Delivered { at: at(now) });
            prop_assert_eq!(after(AttemptOutcome::Gone), DeliveryState::Parked { at: at(now) });
        }

        #[test]
        fn the_tenth_failure_and_all_after_it_park(attempts in 9..=u16::MAX, jitter: u16) {
            let state = after_attempt(attempts, AttemptOutcome::Failed, at(1), Some(Duration::from_secs(9)), jitter);
            prop_assert_eq!(state, DeliveryState::Parked { at: at(1) });
        }

        #[test]
        fn whatever_the_endpoint_does_there_are_at_most_ten_attempts_within_ten_days(
            answers in prop::collection::vec((0..3_u8, 0..100_000_u64, any::<u16>()), 10)
        ) {
            let (begun, mut now) = (at(0), at(0));
            let mut tried: u16 = 0;
            for (answer, asked, jitter) in answers {
                let outcome = match answer {
                    0 => AttemptOutcome::Delivered,
                    1 => AttemptOutcome::Failed,
                    _ => AttemptOutcome::Gone,
                };
                let state = after_attempt(tried, outcome, now, Some(Duration::from_secs(asked)), jitter);
                tried += 1;
                match state {
                    DeliveryState::Pending { next_at } => {
                        prop_assert!(next_at >= now && outcome == AttemptOutcome::Failed && tried < 10);
                        now = next_at;
                    }
                    DeliveryState::Delivered { .. } | DeliveryState::Parked { .. } => {
                        prop_assert!(outcome != AttemptOutcome::Failed || tried == 10);
                        break;
                    }
                }
            }
            prop_assert!(now.microseconds() - begun.microseconds() <= 9 * 24 * 3_600_000_000 * 11 / 10);
        }
    }
}
