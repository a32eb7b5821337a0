//! Organizations and their reference data in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use custodia_domain::company::Company;
use custodia_domain::ports::{AddError, CompanyKey, Directory, Office, Offices, Portfolio, StoreError};
use custodia_domain::{ClosureReasonId, OfficeId, OfficeName, OrganizationId, Timestamp};

use super::webhooks::Webhooks;
use super::{MemoryStore, Organization};
use crate::HEAD_OFFICE;

#[async_trait]
impl Directory for MemoryStore {
    async fn add_organization(&self, name: &str, _at: Timestamp) -> Result<OrganizationId, StoreError> {
        let mut state = self.lock();
        let greatest = state.organizations.last_key_value().map_or(0, |(id, _)| id.get());
        let id = OrganizationId::parse(greatest + 1).expect("memory holds fewer than 2^63 organizations");
        let head_office = OfficeName::parse(HEAD_OFFICE).expect("the name of the first office is valid");
        let organization = Organization {
            name: name.to_owned(),
            default_office: OfficeId::FIRST,
            offices: BTreeMap::from([(OfficeId::FIRST, head_office)]),
            closure_reasons: BTreeMap::new(),
            portfolios: BTreeMap::new(),
            next_customer: 1,
            next_company: 1,
            next_loan: 1,
            customers: BTreeMap::new(),
            external_ids: BTreeMap::new(),
            events: Vec::new(),
            histories: BTreeMap::new(),
            receipts: BTreeMap::new(),
            companies: BTreeMap::new(),
            accounts: BTreeMap::new(),
            holders: BTreeMap::new(),
            loans: BTreeMap::new(),
            loan_ids: BTreeMap::new(),
            scores: BTreeMap::new(),
            webhooks: Webhooks::default(),
        };
        state.organizations.insert(id, organization);
        Ok(id)
    }

    async fn organizations(&self) -> Result<Vec<(OrganizationId, String)>, StoreError> {
        Ok(self.lock().organizations.iter().map(|(id, kept)| (*id, kept.name.clone())).collect())
    }

    async fn add_office(
        &self,
        organization: OrganizationId,
        name: &OfficeName,
        _at: Timestamp,
    ) -> Result<OfficeId, AddError> {
        let mut state = self.lock();
        let organization = state.organizations.get_mut(&organization).ok_or(AddError::NoOrganization)?;
        if organization.offices.values().any(|taken| taken == name) {
            return Err(AddError::Taken);
        }
        let greatest = organization.offices.last_key_value().map_or(0, |(id, _)| id.get());
        let id = OfficeId::parse(greatest + 1).expect("memory holds fewer than 2^63 offices");
        organization.offices.insert(id, name.clone());
        Ok(id)
    }

    async fn offices(&self, organization: OrganizationId) -> Result<Option<Offices>, StoreError> {
        Ok(self.lock().organizations.get(&organization).map(|kept| Offices {
            default: kept.default_office,
            all: kept.offices.iter().map(|(id, name)| Office { id: *id, name: name.clone() }).collect(),
        }))
    }

    async fn set_default_office(&self, organization: OrganizationId, office: OfficeId) -> Result<bool, StoreError> {
        match self.lock().organizations.get_mut(&organization) {
            Some(organization) if organization.offices.contains_key(&office) => {
                organization.default_office = office;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn add_closure_reason(
        &self,
        organization: OrganizationId,
        reason: ClosureReasonId,
        label: &str,
        _at: Timestamp,
    ) -> Result<(), AddError> {
        let mut state = self.lock();
        let organization = state.organizations.get_mut(&organization).ok_or(AddError::NoOrganization)?;
        if organization.closure_reasons.contains_key(&reason) {
            return Err(AddError::Taken);
        }
        organization.closure_reasons.insert(reason, label.to_owned());
        Ok(())
    }

    async fn closure_reasons(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(ClosureReasonId, String)>, StoreError> {
        let state = self.lock();
        let reasons = state.organizations.get(&organization).into_iter().flat_map(|kept| &kept.closure_reasons);
        Ok(reasons.map(|(code, label)| (*code, label.clone())).collect())
    }

    async fn companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        let state = self.lock();
        let kept = state.organizations.get(&organization);
        Ok(keys.iter().map(|key| kept?.company(key).cloned()).collect())
    }

    async fn list_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError> {
        let state = self.lock();
        let Some(kept) = state.organizations.get(&organization) else {
            return Ok((Vec::new(), 0));
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let page = kept.companies.values().skip(offset).take(usize::from(limit)).cloned();
        Ok((page.collect(), kept.companies.len() as u64))
    }

    async fn add_portfolio(
        &self,
        organization: OrganizationId,
        portfolio: &Portfolio,
        _at: Timestamp,
    ) -> Result<(), AddError> {
        let mut state = self.lock();
        let organization = state.organizations.get_mut(&organization).ok_or(AddError::NoOrganization)?;
        if organization.portfolios.contains_key(&portfolio.id) {
            return Err(AddError::Taken);
        }
        organization.portfolios.insert(portfolio.id.clone(), portfolio.clone());
        Ok(())
    }

    async fn portfolios(&self, organization: OrganizationId) -> Result<Vec<Portfolio>, StoreError> {
        let state = self.lock();
        let portfolios = state.organizations.get(&organization).into_iter().flat_map(|kept| kept.portfolios.values());
        Ok(portfolios.cloned().collect())
    }
}
