//! A directory that remembers for a moment what it was told: reference data changes by hand, and is asked for with every
//! request. Must not know where the directory behind it keeps anything.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use custodia_domain::company::Company;
use custodia_domain::ports::{AddError, CompanyKey, Directory, Offices, Portfolio, StoreError};
use custodia_domain::{ClosureReasonId, OfficeId, OfficeName, OrganizationId, Timestamp};

/// How long an answer is good for: so short that nobody who changes reference data by hand sees the old, and long enough
/// that a busy service asks some dozen times a second instead of with every request.
pub const FRESH_FOR: Duration = Duration::from_millis(25);

/// Answers offices, closure reasons and portfolios from memory while they are fresh; everything else is passed on, and a
/// change through this very directory is seen at once.
pub struct CachedDirectory {
    inner: Arc<dyn Directory>,
    offices: Fresh<OrganizationId, Option<Offices>>,
    reasons: Fresh<OrganizationId, Vec<(ClosureReasonId, String)>>,
    portfolios: Fresh<OrganizationId, Vec<Portfolio>>,
}

/// Answers with the instant until which each is good.
struct Fresh<K, V> {
    answers: RwLock<HashMap<K, (Instant, V)>>,
    fresh_for: Duration,
}

impl<K: Eq + Hash, V: Clone> Fresh<K, V> {
    fn new(fresh_for: Duration) -> Self {
        Self { answers: RwLock::default(), fresh_for }
    }

    fn get(&self, key: &K) -> Option<V> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(until, _)| Instant::now() < *until).map(|(_, value)| value.clone())
    }

    /// Keeps an answer to a question that was asked at that instant.
    fn put(&self, key: K, asked: Instant, value: &V) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(key, (asked + self.fresh_for, value.clone()));
    }

    fn forget(&self, key: &K) {
        self.answers.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl CachedDirectory {
    /// Remembers the answers of that directory for [`FRESH_FOR`].
    #[must_use]
    pub fn new(inner: Arc<dyn Directory>) -> Self {
        Self::fresh_for(inner, FRESH_FOR)
    }

    /// Remembers the answers of that directory for so long.
    #[must_use]
    pub fn fresh_for(inner: Arc<dyn Directory>, fresh_for: Duration) -> Self {
        Self {
            inner,
            offices: Fresh::new(fresh_for),
            reasons: Fresh::new(fresh_for),
            portfolios: Fresh::new(fresh_for),
        }
    }
}

#[async_trait]
impl Directory for CachedDirectory {
    async fn add_organization(&self, name: &str, at: Timestamp) -> Result<OrganizationId, StoreError> {
        self.inner.add_organization(name, at).await
    }

    async fn organizations(&self) -> Result<Vec<(OrganizationId, String)>, StoreError> {
        self.inner.organizations().await
    }

    async fn add_office(
        &self,
        organization: OrganizationId,
        name: &OfficeName,
        at: Timestamp,
    ) -> Result<OfficeId, AddError> {
        let added = self.inner.add_office(organization, name, at).await;
        self.offices.forget(&organization);
        added
    }

    async fn offices(&self, organization: OrganizationId) -> Result<Option<Offices>, StoreError> {
        if let Some(known) = self.offices.get(&organization) {
            return Ok(known);
        }
        let asked = Instant::now();
        let offices = self.inner.offices(organization).await?;
        self.offices.put(organization, asked, &offices);
        Ok(offices)
    }

    async fn set_default_office(&self, organization: OrganizationId, office: OfficeId) -> Result<bool, StoreError> {
        let set = self.inner.set_default_office(organization, office).await;
        self.offices.forget(&organization);
        set
    }

    async fn add_closure_reason(
        &self,
        organization: OrganizationId,
        reason: ClosureReasonId,
        label: &str,
        at: Timestamp,
    ) -> Result<(), AddError> {
        let added = self.inner.add_closure_reason(organization, reason, label, at).await;
        self.reasons.forget(&organization);
        added
    }

    async fn closure_reasons(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(ClosureReasonId, String)>, StoreError> {
        if let Some(known) = self.reasons.get(&organization) {
            return Ok(known);
        }
        let asked = Instant::now();
        let reasons = self.inner.closure_reasons(organization).await?;
        self.reasons.put(organization, asked, &reasons);
        Ok(reasons)
    }

    async fn companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        self.inner.companies(organization, keys).await
    }

    async fn list_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError> {
        self.inner.list_companies(organization, offset, limit).await
    }

    async fn add_portfolio(
        &self,
        organization: OrganizationId,
        portfolio: &Portfolio,
        at: Timestamp,
    ) -> Result<(), AddError> {
        let added = self.inner.add_portfolio(organization, portfolio, at).await;
        self.portfolios.forget(&organization);
        added
    }

    async fn portfolios(&self, organization: OrganizationId) -> Result<Vec<Portfolio>, StoreError> {
        if let Some(known) = self.portfolios.get(&organization) {
            return Ok(known);
        }
        let asked = Instant::now();
        let portfolios = self.inner.portfolios(organization).await?;
        self.portfolios.put(organization, asked, &portfolios);
        Ok(portfolios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn an_answer_is_remembered_while_it_is_fresh_and_a_change_through_the_cache_is_seen_at_once() {
        let store = Arc::new(MemoryStore::new());
        let at = Timestamp::parse("2026-05-25T09:30:00Z").unwrap();
        let organization = store.add_organization("First", at).await.unwrap();
        let cached = CachedDirectory::fresh_for(store.clone(), Duration::from_hours(1));
        let count = async || cached.offices(organization).await.unwrap().unwrap().all.len();
        assert_eq!(count().await, 1);
        store.add_office(organization, &OfficeName::parse("Coast").unwrap(), at).await.unwrap();
        assert_eq!(count().await, 1, "what another process changes is seen when the answer is old");
        cached.add_office(organization, &OfficeName::parse("North").unwrap(), at).await.unwrap();
        assert_eq!(count().await, 3);
        let stale = CachedDirectory::fresh_for(store.clone(), Duration::ZERO);
        let before = stale.offices(organization).await.unwrap();
        store.set_default_office(organization, OfficeId::parse(2).unwrap()).await.unwrap();
        assert_ne!(stale.offices(organization).await.unwrap(), before);
    }
}
