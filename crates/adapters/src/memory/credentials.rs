//! API keys and partner accounts in memory.

use async_trait::async_trait;
use custodia_domain::ports::{AddError, ApiKey, CredentialStore, PartnerAccount, Scope, StoreError};
use custodia_domain::{OrganizationId, Timestamp};

use super::MemoryStore;

/// The number after so many.
fn number_after(count: usize) -> i64 {
    i64::try_from(count + 1).expect("memory holds fewer than 2^63 credentials")
}

#[async_trait]
impl CredentialStore for MemoryStore {
    async fn add_api_key(
        &self,
        organization: OrganizationId,
        name: &str,
        hash: [u8; 32],
        scope: Scope,
        _at: Timestamp,
    ) -> Result<i64, AddError> {
        let mut state = self.lock();
        if !state.organizations.contains_key(&organization) {
            return Err(AddError::NoOrganization);
        }
        if state.api_keys.iter().any(|key| key.hash == hash) {
            return Err(AddError::Taken);
        }
        let id = number_after(state.api_keys.len());
        state.api_keys.push(ApiKey { id, organization, name: name.to_owned(), hash, scope, revoked_at: None });
        Ok(id)
    }

    async fn api_keys(&self, hashes: &[[u8; 32]]) -> Result<Vec<Option<ApiKey>>, StoreError> {
        let state = self.lock();
        Ok(hashes.iter().map(|hash| state.api_keys.iter().find(|key| key.hash == *hash).cloned()).collect())
    }

    async fn list_api_keys(&self, organization: OrganizationId) -> Result<Vec<ApiKey>, StoreError> {
        Ok(self.lock().api_keys.iter().filter(|key| key.organization == organization).cloned().collect())
    }

    async fn revoke_api_key(&self, organization: OrganizationId, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let found = state.api_keys.iter_mut().find(|key| key.organization == organization && key.id == id);
        Ok(found.is_some_and(|key| {
            key.revoked_at.get_or_insert(at);
            true
        }))
    }

    async fn add_account(
        &self,
        organization: OrganizationId,
        email: &str,
        password_hash: &str,
        _at: Timestamp,
    ) -> Result<i64, AddError> {
        let mut state = self.lock();
        if !state.organizations.contains_key(&organization) {
            return Err(AddError::NoOrganization);
        }
        let email = email.to_lowercase();
        if state.accounts.contains_key(&email) {
            return Err(AddError::Taken);
        }
        let id = number_after(state.accounts.len());
        state.accounts.insert(email, PartnerAccount { id, organization, password_hash: password_hash.to_owned() });
        Ok(id)
    }

    async fn account(&self, email: &str) -> Result<Option<PartnerAccount>, StoreError> {
        Ok(self.lock().accounts.get(&email.to_lowercase()).cloned())
    }
}
