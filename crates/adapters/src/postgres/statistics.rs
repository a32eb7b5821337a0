//! What the planner knows of young tables. The server counts rows by itself, but up to minutes after the first came; a
//! plan that was made before takes every organization for small, reads all of it, and is kept. So the store has them
//! counted once there are some. Must not know what the tables mean.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::Failure;
use super::pool::Sessions;

/// After how many units a store looks whether rows have been counted.
const LOOKS: [u64; 3] = [200, 2_000, 20_000];

/// Whether the planner knows of fewer customers or events than would make it look one up by its key.
const IS_UNCOUNTED: &str = "
    select coalesce(min(t.reltuples), 0) < 1000
    from pg_class t
    where t.oid in (to_regclass('customers'), to_regclass('customer_events'))";

const COUNT: &str = "analyze customers, customer_events, accounts, account_holders, loans, credit_scores, receipts, \
    webhook_endpoints, webhook_deliveries, webhook_attempts";

/// How many units a store was given to commit.
#[derive(Debug, Default)]
pub(super) struct Given(AtomicU64);

impl Given {
    /// Adds so many; whether it is time to look.
    pub(super) fn add(&self, units: usize) -> bool {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let before = self.0.fetch_add(units, Ordering::Relaxed);
        LOOKS.iter().any(|look| (before..before.saturating_add(units)).contains(look))
    }
}

/// Has rows counted where the planner knows of few. A failure changes nothing but the time that statements take, until
/// the server counts them itself.
pub(super) async fn refresh(sessions: &Sessions) {
    let refreshed = async {
        let mut session = sessions.acquire().await?;
        let counted = sessions.patiently(async {
            if sqlx::query_scalar(IS_UNCOUNTED).fetch_one(&mut *session).await? {
                sqlx::raw_sql(COUNT).execute(&mut *session).await?;
            }
            Ok::<(), Failure>(())
        });
        let counted = counted.await;
        sessions.settle(session, counted.as_ref().err());
        counted
    };
    if let Err(failure) = refreshed.await {
        tracing::debug!(error = %failure.cause(), "the database's statistics are as they were");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_looks_a_few_times_however_units_come() {
        let singly = Given::default();
        assert_eq!((0..30_000).filter(|_| singly.add(1)).count(), LOOKS.len());
        let many = Given::default();
        assert_eq!((0..300).filter(|_| many.add(150)).count(), LOOKS.len());
        assert!(!many.add(0));
    }
}
