//! Facets of customers, and what lists make of them.

use custodia_domain::facets::AcquisitionPatch;
use custodia_domain::ports::{Boundary, CustomerFilter, Direction, SortKey, Window};
use custodia_domain::{CustomerPatch, EmailAddress, NewCustomer, OrganizationId, Patch};

use crate::support::{
    Stage, acquisition, activate, applied, call_at, close, enrolment, ids, moment, named, page, query,
};

async fn facets_come_back_through_every_change(stage: Stage) {
    let organization = stage.organization().await;
    let plain = stage.create_named(organization, "Ada").await;
    assert_eq!(stage.find(organization, plain.id()).await, Some(plain.clone()));
    let patch = AcquisitionPatch { city: Patch::Clear, source: Patch::Clear, ..AcquisitionPatch::default() };
    let new = NewCustomer { acquisition: acquisition("web", Some(3)), enrolment: Some(enrolment()), ..named("Eve") };
    let full = stage.create(organization, new).await;
    assert_eq!(stage.find(organization, full.id()).await.as_ref(), Some(&full));
    let less = |customer: &mut custodia_domain::Customer| {
        applied(customer.update(&CustomerPatch { acquisition: patch, ..CustomerPatch::default() }, moment(5)).unwrap())
    };
    let less = stage.change(full, less).await;
    assert_eq!(less.acquisition().source, None);
    assert_eq!(stage.find(organization, less.id()).await, Some(less));
}

async fn lists_filter_by_activity_source_and_company(stage: Stage) {
    let organization = stage.organization().await;
    let from = |source, company| NewCustomer { acquisition: acquisition(source, company), ..named("Ada") };
    stage.create(organization, from("web", Some(1))).await;
    let active = stage.create(organization, from("api", Some(1))).await;
    stage.change(active, activate("2026-05-22")).await;
    let closed = stage.create(organization, from("web", None)).await;
    let closed = stage.change(closed, activate("2026-05-22")).await;
    stage.change(closed, close("2026-05-22")).await;
    stage.create(organization, named("Bob")).await;
    let web = acquisition("web", None).source;
    let company = acquisition("web", Some(1)).company;
    let open = CustomerFilter::default;
    let expected = [
        (CustomerFilter { active: Some(true), ..open() }, vec![2]),
        (CustomerFilter { active: Some(false), ..open() }, vec![1, 3, 4]),
        (CustomerFilter { source: web.clone(), ..open() }, vec![1, 3]),
        (CustomerFilter { company, ..open() }, vec![1, 2]),
        (CustomerFilter { active: Some(false), source: web, company, ..open() }, vec![1]),
    ];
    for (filter, wanted) in expected {
        for sort in [SortKey::Id, SortKey::CreatedAt] {
            let query = query(organization, sort, Direction::Ascending, Window::Page { offset: 0 });
            let found = stage.list(&custodia_domain::ports::CustomerQuery { filter: filter.clone(), ..query }).await;
            assert_eq!(ids(&found), wanted, "{filter:?} by {sort:?}");
            assert_eq!(found.total, Some(wanted.len() as u64), "{filter:?}");
        }
    }
    assert_eq!(stage.list(&page(organization, 0)).await.total, Some(4));
}

/// The whole list, in steps of one row.
async fn walk(stage: &Stage, organization: OrganizationId, sort: SortKey, direction: Direction) -> Vec<i64> {
    let mut place = None;
    let mut seen = Vec::new();
    loop {
        let mut step = query(organization, sort, direction, Window::After(place.clone()));
        step.limit = 1;
        let page = stage.list(&step).await;
        seen.extend(ids(&page));
        match page.customers.last() {
            Some(last) if page.more => place = Some(Boundary::after(last, sort)),
            _ => return seen,
        }
    }
}

async fn pages_and_walks_follow_instants_and_addresses(stage: Stage) {
    let organization = stage.organization().await;
    let mailed = |email: Option<&str>| NewCustomer {
        email: email.map(|text| EmailAddress::parse(text).unwrap()),
        ..named("Ada")
    };
    let mut customers = Vec::new();
    for email in
        [Some("b@example.com"), None, Some("a@example.com"), Some("B@example.com"), None, Some("a@example.com")]
    {
        customers.push(stage.create(organization, mailed(email)).await);
    }
    stage.change(customers[1].clone(), call_at("1")).await;
    let expected = [
        (SortKey::CreatedAt, Direction::Ascending, [1, 2, 3, 4, 5, 6]),
        (SortKey::CreatedAt, Direction::Descending, [6, 5, 4, 3, 2, 1]),
        (SortKey::UpdatedAt, Direction::Ascending, [1, 3, 4, 5, 6, 2]),
        (SortKey::UpdatedAt, Direction::Descending, [2, 6, 5, 4, 3, 1]),
        (SortKey::Email, Direction::Ascending, [4, 3, 6, 1, 2, 5]),
        (SortKey::Email, Direction::Descending, [1, 6, 3, 4, 5, 2]),
    ];
    for (sort, direction, wanted) in expected {
        let whole = query(organization, sort, direction, Window::Page { offset: 0 });
        assert_eq!(ids(&stage.list(&whole).await), wanted, "{sort:?} {direction:?}");
        assert_eq!(walk(&stage, organization, sort, direction).await, wanted, "{sort:?} {direction:?}");
    }
}

on_every_store! {
    facets_come_back_through_every_change,
    lists_filter_by_activity_source_and_company,
    pages_and_walks_follow_instants_and_addresses,
}
