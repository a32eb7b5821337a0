//! Companies and portfolios.

use custodia_domain::company::{Company, CompanyDetails, CompanyId, CompanyName, CompanyStatus};
use custodia_domain::facets::FreeText;
use custodia_domain::ports::{AddError, CommitError, CompanyKey, Counter, Portfolio};
use custodia_domain::unit::CompanyChange;
use custodia_domain::{CompanyNumber, OrganizationId, Unit};

use crate::support::{Stage, at, external, moment, unit};

fn company(organization: OrganizationId, number: i64, random: u128) -> Company {
    let free = |text| Some(FreeText::parse(text).unwrap());
    Company {
        organization,
        number: CompanyNumber::parse(number).unwrap(),
        id: CompanyId::from_random(random),
        details: CompanyDetails {
            name: CompanyName::parse("Łódzka Spółka \"1\"").unwrap(),
            status: CompanyStatus::Inactive,
            description: free("sells"),
            industry: None,
            website: free("https://example.com/?a=b"),
            phone: free("+48 22 555 01 02"),
            address: free("Piotrkowska 1"),
        },
    }
}

fn adding(company: &Company) -> Unit {
    let change = CompanyChange::created(company.clone(), moment(1));
    Unit { companies: vec![change], ..unit(company.organization, Vec::new()) }
}

async fn a_company_is_found_by_number_and_by_id(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let (one, two) = (company(organization, 1, 1), company(organization, 2, 2));
    for company in [&one, &two] {
        stage.commit(adding(company)).await.unwrap();
    }
    let keys = [
        CompanyKey::Id(two.id.clone()),
        CompanyKey::Number(CompanyNumber::parse(9).unwrap()),
        CompanyKey::Number(one.number),
        CompanyKey::Id(CompanyId::from_random(9)),
        CompanyKey::Number(two.number),
    ];
    let found = stage.store.companies(organization, &keys).await.unwrap();
    assert_eq!(found, [Some(two.clone()), None, Some(one), None, Some(two)]);
    assert!(stage.store.companies(other, &keys).await.unwrap().iter().all(Option::is_none));
    assert!(stage.store.companies(organization, &[]).await.unwrap().is_empty());
}

async fn companies_are_listed_by_number(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    for number in [3, 1, 2] {
        stage.commit(adding(&company(organization, number, number.unsigned_abs().into()))).await.unwrap();
    }
    stage.commit(adding(&company(other, 1, 1))).await.unwrap();
    let (page, total) = stage.store.list_companies(organization, 1, 5).await.unwrap();
    assert_eq!(page.iter().map(|company| company.number.get()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(total, 3);
    let (page, total) = stage.store.list_companies(organization, u64::MAX, 5).await.unwrap();
    assert_eq!((page.len(), total), (0, 3));
}

async fn a_number_or_an_id_in_use_refuses_a_company(stage: Stage) {
    let organization = stage.organization().await;
    let one = company(organization, 1, 1);
    stage.commit(adding(&one)).await.unwrap();
    for taken in [company(organization, 1, 2), company(organization, 2, 1)] {
        let verdict = stage.commit(adding(&taken)).await;
        assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
    }
    assert_eq!(stage.store.list_companies(organization, 0, 100).await.unwrap(), (vec![one], 1));
}

async fn each_counter_counts_by_itself(stage: Stage) {
    let organization = stage.organization().await;
    for counter in [Counter::Customers, Counter::Companies, Counter::Loans] {
        assert_eq!(stage.store.reserve(organization, counter, 5).await.unwrap(), Some(1), "{counter:?}");
        assert_eq!(stage.store.reserve(organization, counter, 1).await.unwrap(), Some(6), "{counter:?}");
        stage.customers().release(organization, counter, 6, 7).await.unwrap();
        stage.customers().release(organization, counter, 1, 7).await.unwrap();
        assert_eq!(stage.store.reserve(organization, counter, 1).await.unwrap(), Some(6), "{counter:?}");
    }
}

async fn portfolios_are_listed_by_id_and_added_once(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let portfolio =
        |id: &str, name: &str| Portfolio { id: external(id), name: name.into(), reward_unit: "POINTS".into() };
    stage.store.add_portfolio(organization, &portfolio("b", "Second"), at(0)).await.unwrap();
    stage.store.add_portfolio(organization, &portfolio("a", "First"), at(0)).await.unwrap();
    let again = stage.store.add_portfolio(organization, &portfolio("a", "Other"), at(0)).await;
    assert!(matches!(again, Err(AddError::Taken)), "{again:?}");
    let nowhere = OrganizationId::parse(77).unwrap();
    let nowhere = stage.store.add_portfolio(nowhere, &portfolio("a", "Other"), at(0)).await;
    assert!(matches!(nowhere, Err(AddError::NoOrganization)), "{nowhere:?}");
    let listed = stage.store.portfolios(organization).await.unwrap();
    assert_eq!(listed, [portfolio("a", "First"), portfolio("b", "Second")]);
    assert!(stage.store.portfolios(other).await.unwrap().is_empty());
}

on_every_store! {
    a_company_is_found_by_number_and_by_id,
    companies_are_listed_by_number,
    a_number_or_an_id_in_use_refuses_a_company,
    each_counter_counts_by_itself,
    portfolios_are_listed_by_id_and_added_once,
}
