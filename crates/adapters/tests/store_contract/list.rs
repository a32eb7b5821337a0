//! `CustomerStore::list`.

use custodia_domain::ports::{Boundary, Counter, CustomerFilter, CustomerQuery, Direction, SortKey, Window};
use custodia_domain::{
    Customer, CustomerPatch, EmailAddress, MobileNumber, NamePatch, NewCustomer, OfficeName, OrganizationId, Status,
};

use crate::support::{
    Stage, activate, applied, at, call_at, close, created, day, ids, mirrored, moment, named, number, page, person,
    query, search, unit,
};

const SORTS: [SortKey; 4] = [SortKey::Id, SortKey::DisplayName, SortKey::SubmittedDate, SortKey::ActivationDate];
const DIRECTIONS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

/// Customers with many equal names and dates, some of them never activated.
async fn populate(stage: &Stage, organization: OrganizationId) {
    assert_eq!(stage.store.reserve(organization, Counter::Customers, 60).await.unwrap(), Some(1));
    let mut units = Vec::new();
    for id in 1..=60_i64 {
        let date = |step: i64| day(&format!("2026-0{}-1{}", 1 + id * step % 4, id * step % 3));
        let activated = (id % 3 != 0).then(|| date(7).max(date(5)));
        let name = ["Ada", "ada", "Bob", "Zoë", "Émile"][usize::try_from(id % 5).unwrap()];
        let new = NewCustomer { submitted: Some(date(5)), activated, ..named(name) };
        units.push(unit(organization, vec![created(organization, number(id), new).1]));
    }
    assert!(stage.store.commit(units).await.iter().all(Result::is_ok));
}

async fn walk(stage: &Stage, query: &CustomerQuery) -> Vec<Customer> {
    let mut seen: Vec<Customer> = Vec::new();
    loop {
        let place = seen.last().map(|customer| Boundary::after(customer, query.sort));
        let page = stage.list(&CustomerQuery { window: Window::After(place), ..query.clone() }).await;
        assert_eq!(page.total, None);
        assert!(page.customers.len() <= usize::from(query.limit));
        assert!(!page.more || page.customers.len() == usize::from(query.limit), "a page before the last is full");
        seen.extend(page.customers);
        if !page.more {
            return seen;
        }
        assert!(seen.len() <= 1000, "a walk ends");
    }
}

async fn order_is_by_number_in_both_directions(stage: Stage) {
    let organization = stage.organization().await;
    for id in [5, 1, 300, 20] {
        let (_, change) = created(organization, number(id), named("Ada"));
        stage.commit(unit(organization, vec![change])).await.unwrap();
    }
    let up = query(organization, SortKey::Id, Direction::Ascending, Window::After(None));
    assert_eq!(ids(&stage.list(&up).await), [1, 5, 20, 300]);
    let down = CustomerQuery { direction: Direction::Descending, ..up };
    assert_eq!(ids(&stage.list(&down).await), [300, 20, 5, 1]);
}

async fn names_are_ordered_folded_and_by_code_points(stage: Stage) {
    let organization = stage.organization().await;
    // In the order that is wanted: marks before digits before letters, and neither case nor accents count.
    let names = [
        "'t Hooft", "Al Z", "Al-Amin", "Al. A", "Ala", "ALB", "Émile", "Łódź", "straße", "STRASSEN", "Ωmega", "日本",
        "🦀",
    ];
    for id in (0..names.len()).rev() {
        let (_, change) = created(organization, number(i64::try_from(id).unwrap() + 1), named(names[id]));
        stage.commit(unit(organization, vec![change])).await.unwrap();
    }
    let up = query(organization, SortKey::DisplayName, Direction::Ascending, Window::After(None));
    let listed: Vec<_> = stage.list(&up).await.customers.iter().map(Customer::display_name).collect();
    assert_eq!(listed, names);
    let down = CustomerQuery { direction: Direction::Descending, limit: 3, ..up };
    let walked: Vec<_> = walk(&stage, &down).await.iter().map(Customer::display_name).collect();
    assert!(walked.iter().rev().eq(names.iter()));
}

async fn ties_are_broken_by_number_in_the_direction_of_the_order(stage: Stage) {
    let organization = stage.organization().await;
    for _ in 0..5 {
        let new = NewCustomer { submitted: Some(day("2026-01-01")), ..named("Same") };
        stage.create(organization, NewCustomer { activated: Some(day("2026-02-01")), ..new }).await;
    }
    for sort in SORTS {
        let up = query(organization, sort, Direction::Ascending, Window::Page { offset: 0 });
        assert_eq!(ids(&stage.list(&up).await), [1, 2, 3, 4, 5], "{sort:?}");
        let down = CustomerQuery { direction: Direction::Descending, ..up };
        assert_eq!(ids(&stage.list(&down).await), [5, 4, 3, 2, 1], "{sort:?}");
    }
}

async fn customers_never_activated_come_last_in_both_directions(stage: Stage) {
    let organization = stage.organization().await;
    for activated in [None, Some("2026-02-02"), None, Some("2026-01-01"), Some("2026-03-03")] {
        let new = NewCustomer { submitted: Some(day("2026-01-01")), activated: activated.map(day), ..named("Ada") };
        stage.create(organization, new).await;
    }
    for window in [Window::Page { offset: 0 }, Window::After(None)] {
        let up = query(organization, SortKey::ActivationDate, Direction::Ascending, window);
        assert_eq!(ids(&stage.list(&up).await), [4, 2, 5, 1, 3]);
        let down = CustomerQuery { direction: Direction::Descending, ..up };
        assert_eq!(ids(&stage.list(&down).await), [5, 2, 4, 3, 1]);
    }
}

async fn a_walk_sees_every_row_once_in_the_order_of_the_pages(stage: Stage) {
    let organization = stage.organization().await;
    populate(&stage, organization).await;
    for sort in SORTS {
        for direction in DIRECTIONS {
            for limit in [1, 7, 60] {
                let whole = query(organization, sort, direction, Window::Page { offset: 0 });
                let whole = stage.list(&whole).await;
                assert_eq!((whole.customers.len(), whole.total, whole.more), (60, Some(60), false));
                let all = query(organization, sort, direction, Window::After(None));
                assert_eq!(
                    walk(&stage, &CustomerQuery { limit, ..all }).await,
                    whole.customers,
                    "{sort:?} {direction:?} by {limit}"
                );
            }
        }
    }
}

async fn pages_by_offset_add_up_to_the_whole_list(stage: Stage) {
    let organization = stage.organization().await;
    populate(&stage, organization).await;
    for sort in SORTS {
        for direction in DIRECTIONS {
            let whole = ids(&stage.list(&query(organization, sort, direction, Window::Page { offset: 0 })).await);
            let mut paged = Vec::new();
            for offset in [0, 25, 50] {
                let window = Window::Page { offset };
                let part =
                    stage.list(&CustomerQuery { limit: 25, ..query(organization, sort, direction, window) }).await;
                assert_eq!((part.total, part.more), (Some(60), offset < 50));
                paged.extend(ids(&part));
            }
            assert_eq!(paged, whole, "{sort:?} {direction:?}");
        }
    }
}

async fn an_offset_past_the_end_gives_no_rows_and_the_total(stage: Stage) {
    let organization = stage.organization().await;
    stage.create_named(organization, "Ada").await;
    for offset in [1, 2, 1_000_000, u64::MAX] {
        let past = stage.list(&page(organization, offset)).await;
        assert_eq!((past.customers.len(), past.total, past.more), (0, Some(1), false), "{offset}");
    }
}

async fn a_walk_goes_on_after_a_row_that_is_gone(stage: Stage) {
    let organization = stage.organization().await;
    let mut customers = Vec::new();
    for name in ["A", "B", "C", "D"] {
        customers.push(stage.create_named(organization, name).await);
    }
    let place = Boundary::after(&customers[1], SortKey::DisplayName);
    stage.delete(customers[1].clone()).await;
    let walk = query(organization, SortKey::DisplayName, Direction::Ascending, Window::After(Some(place)));
    assert_eq!(ids(&stage.list(&walk).await), [3, 4]);
}

async fn a_filter_by_status_holds_those_of_that_status(stage: Stage) {
    let organization = stage.organization().await;
    for name in ["Pending", "Active", "Closed", "Pending too"] {
        stage.create_named(organization, name).await;
    }
    let of = async |id| stage.find(organization, number(id)).await.unwrap();
    stage.change(of(2).await, activate("2026-05-22")).await;
    let third = stage.change(of(3).await, activate("2026-05-22")).await;
    stage.change(third, close("2026-05-22")).await;
    for (status, wanted) in [(Status::Pending, vec![1, 4]), (Status::Active, vec![2]), (Status::Closed, vec![3])] {
        let filter = CustomerFilter { status: Some(status), ..CustomerFilter::default() };
        let listed = stage.list(&CustomerQuery { filter, ..page(organization, 0) }).await;
        assert_eq!((ids(&listed), listed.total), (wanted.clone(), Some(wanted.len() as u64)), "{status}");
    }
}

async fn criteria_hold_together_in_every_order_and_the_total_counts_them(stage: Stage) {
    let organization = stage.organization().await;
    let north = stage.store.add_office(organization, &OfficeName::parse("North").unwrap(), at(0)).await.unwrap();
    populate(&stage, organization).await;
    for name in ["Ada North", "Bob North", "Adam Northman"] {
        stage.create(organization, NewCustomer { office: north, ..named(name) }).await;
    }
    stage
        .create(organization, NewCustomer { office: north, activated: Some(day("2026-05-01")), ..named("Ada N") })
        .await;
    let filter = CustomerFilter {
        status: Some(Status::Pending),
        office: Some(north),
        words: vec!["ada".into()],
        ..CustomerFilter::default()
    };
    for sort in SORTS {
        for direction in DIRECTIONS {
            let wanted = match direction {
                Direction::Ascending => [61, 63],
                Direction::Descending => [63, 61],
            };
            let window = Window::Page { offset: 0 };
            let filtered = CustomerQuery { filter: filter.clone(), ..query(organization, sort, direction, window) };
            let listed = stage.list(&filtered).await;
            assert_eq!((ids(&listed), listed.total), (wanted.into(), Some(2)), "{sort:?} {direction:?}");
            let walked = walk(&stage, &CustomerQuery { limit: 1, ..filtered.clone() }).await;
            assert_eq!(walked, listed.customers);
            let second = CustomerQuery { window: Window::Page { offset: 1 }, limit: 1, ..filtered };
            assert_eq!(stage.list(&second).await.customers, listed.customers[1..]);
        }
    }
}

async fn every_word_has_to_begin_a_word_of_the_customer(stage: Stage) {
    let organization = stage.organization().await;
    let contact = |mobile: &str, email: &str| NewCustomer {
        mobile: Some(MobileNumber::parse(mobile).unwrap()),
        email: Some(EmailAddress::parse(email).unwrap()),
        ..named("x")
    };
    let ada = NewCustomer {
        name: person("Ada", Some("King"), "O'Brien-Łódź"),
        ..contact("+48 (22) 555-01", "Ada.K@Example.com")
    };
    stage.create(organization, ada).await;
    stage
        .create(organization, NewCustomer { name: named("Brienne Adamczyk").name, ..contact("0700 1", "b@b.example") })
        .await;
    for (text, wanted) in [
        ("ada", vec![1, 2]),
        ("ADA", vec![1, 2]),
        ("ada brien", vec![1, 2]),
        ("brien ada", vec![1, 2]),
        ("ada king", vec![1]),
        ("o'brien-lodz", vec![1]),
        ("brien", vec![1, 2]),
        ("lodz", vec![1]),
        ("ŁÓDŹ", vec![1]),
        ("dz", vec![]),
        ("da", vec![]),
        ("4822555", vec![1]),
        ("+48 (22)", vec![1]),
        ("555-01", vec![1]),
        ("0700", vec![2]),
        ("ada.k@example.com", vec![1]),
        ("ada.k@", vec![1]),
        ("example.com", vec![]),
        ("000000002", vec![2]),
        ("00000000", vec![1, 2]),
        ("ada nobody", vec![]),
    ] {
        let listed = stage.list(&search(organization, text)).await;
        assert_eq!((ids(&listed), listed.total), (wanted.clone(), Some(wanted.len() as u64)), "{text}");
    }
}

async fn marks_of_patterns_and_query_languages_are_plain_text(stage: Stage) {
    let organization = stage.organization().await;
    let names = [
        "100% Ltd",
        "a_b",
        "back\\slash",
        "star* co",
        "O'Neil",
        "a&b",
        "not !x",
        "x:y",
        "x:*",
        "(p|q)",
        "\"q\"",
        "<->",
        "tab$1",
    ];
    for name in names {
        stage.create_named(organization, name).await;
    }
    for (text, wanted) in [
        ("100%", vec![1]),
        ("%", vec![]),
        ("a_", vec![2]),
        ("_", vec![]),
        ("a_b", vec![2]),
        ("back\\", vec![3]),
        ("\\", vec![]),
        ("star*", vec![4]),
        ("st*", vec![]),
        ("o'n", vec![5]),
        ("'", vec![]),
        ("a&", vec![6]),
        ("a&b", vec![6]),
        ("!", vec![7]),
        ("!x", vec![7]),
        ("x:", vec![8, 9]),
        ("x:*", vec![9]),
        ("(p", vec![10]),
        ("(p|q)", vec![10]),
        ("|", vec![]),
        ("\"", vec![11]),
        ("<->", vec![12]),
        ("&", vec![]),
        ("tab$1", vec![13]),
    ] {
        assert_eq!(ids(&stage.list(&search(organization, text)).await), wanted, "{text}");
    }
}

async fn words_of_any_script_and_length_are_found_whole_and_by_their_beginning(stage: Stage) {
    let organization = stage.organization().await;
    let long = "é".repeat(200);
    let wide = "🦀".repeat(200);
    let last = format!("z{}", '\u{10fffd}');
    let names = ["Ωmega", "日本 太郎", "العربية", &long, &wide, &last, "z\u{d7ff}q", "z\u{e000}q"];
    for name in names {
        stage.create_named(organization, name).await;
    }
    for (at, name) in names.iter().enumerate() {
        let wanted = [i64::try_from(at).unwrap() + 1];
        assert_eq!(ids(&stage.list(&search(organization, name)).await), wanted, "whole {at}");
    }
    for (text, wanted) in [
        ("ω", vec![1]),
        ("太", vec![3 - 1]),
        ("日", vec![2]),
        ("ال", vec![3]),
        ("🦀🦀", vec![5]),
        ("e", vec![4]),
        ("z", vec![6, 7, 8]),
        ("z\u{d7ff}", vec![7]),
    ] {
        assert_eq!(ids(&stage.list(&search(organization, text)).await), wanted, "{text}");
    }
}

async fn any_number_of_words_may_be_asked_for(stage: Stage) {
    let organization = stage.organization().await;
    let name: Vec<String> = ('a'..='z').flat_map(|a| ('a'..='c').map(move |b| format!("{a}{b}"))).take(60).collect();
    stage.create_named(organization, &name.join(" ")).await;
    stage.create_named(organization, &name[1..].join(" ")).await;
    for count in [2, 8, 9, 10, 60] {
        let listed = stage.list(&search(organization, &name[..count].join(" "))).await;
        assert_eq!((ids(&listed), listed.total), (vec![1], Some(1)), "{count} words");
    }
    assert_eq!(ids(&stage.list(&search(organization, &name[1..].join(" "))).await), [1, 2]);
    let mut absent = name.clone();
    absent.push("zz".into());
    assert!(ids(&stage.list(&search(organization, &absent.join(" "))).await).is_empty());
    let hundreds: Vec<String> = (0..1500).map(|number| format!("w{number}")).collect();
    assert!(ids(&stage.list(&search(organization, &hundreds.join(" "))).await).is_empty());
}

async fn a_search_follows_changes_and_deletions(stage: Stage) {
    let organization = stage.organization().await;
    let ada = stage.create_named(organization, "Ada Before").await;
    let ada = stage
        .change(ada, |customer| {
            let custodia_domain::Name::Full(name) = named("Ada After").name else { unreachable!("it is a whole name") };
            let patch = CustomerPatch { name: NamePatch::Full(name), ..CustomerPatch::default() };
            applied(customer.update(&patch, moment(5)).unwrap())
        })
        .await;
    let ada = stage.change(ada, call_at("555")).await;
    let ada = stage.change(ada, call_at("777")).await;
    for (text, found) in [("before", false), ("after", true), ("ada", true), ("555", false), ("777", true)] {
        assert_eq!(!ids(&stage.list(&search(organization, text)).await).is_empty(), found, "{text}");
    }
    stage.delete(ada).await;
    for text in ["after", "ada", "777", "000000001"] {
        assert!(ids(&stage.list(&search(organization, text)).await).is_empty(), "{text}");
    }
}

async fn a_customer_named_after_its_external_id_is_found_by_it(stage: Stage) {
    let organization = stage.organization().await;
    let customer = stage.create(organization, mirrored("EXT/42")).await;
    stage.change(customer, crate::support::call_it("NEW/43")).await;
    assert_eq!(ids(&stage.list(&search(organization, "new/43 customer")).await), [1]);
    assert_eq!(ids(&stage.list(&search(organization, "43")).await), [1]);
    assert!(ids(&stage.list(&search(organization, "ext")).await).is_empty());
}

async fn lists_and_totals_hold_one_organization_alone(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    stage.create_named(mine, "Ada").await;
    for name in ["Ada", "Adam", "Eve"] {
        stage.create_named(theirs, name).await;
    }
    for sort in SORTS {
        for direction in DIRECTIONS {
            let listed = stage.list(&query(mine, sort, direction, Window::Page { offset: 0 })).await;
            assert_eq!((ids(&listed), listed.total), (vec![1], Some(1)));
        }
    }
    assert!(stage.list(&search(mine, "ada")).await.customers.iter().all(|customer| customer.organization() == mine));
    assert_eq!(stage.list(&search(mine, "ada")).await.total, Some(1));
    assert_eq!(stage.list(&search(theirs, "ada")).await.total, Some(2));
    assert_eq!(stage.list(&search(mine, "eve")).await.total, Some(0));
}

async fn an_organization_that_there_is_not_has_an_empty_list(stage: Stage) {
    let nowhere = OrganizationId::parse(99).unwrap();
    for window in [Window::Page { offset: 0 }, Window::After(None)] {
        let listed = stage.list(&query(nowhere, SortKey::Id, Direction::Ascending, window.clone())).await;
        let total = matches!(window, Window::Page { .. }).then_some(0);
        assert_eq!((listed.customers.len(), listed.total, listed.more), (0, total, false));
    }
    assert_eq!(stage.list(&search(nowhere, "ada")).await.total, Some(0));
}

async fn the_total_follows_creations_and_deletions(stage: Stage) {
    let organization = stage.organization().await;
    assert_eq!(stage.total(organization).await, 0);
    let ada = stage.create_named(organization, "Ada").await;
    let eve = stage.create_named(organization, "Eve").await;
    assert_eq!(stage.total(organization).await, 2);
    let eve = stage.change(eve, call_at("1")).await;
    assert_eq!(stage.total(organization).await, 2, "an update counts nothing");
    stage.delete(ada).await;
    assert_eq!(stage.total(organization).await, 1);
    stage.delete(eve).await;
    assert_eq!(stage.total(organization).await, 0);
}

on_every_store! {
    order_is_by_number_in_both_directions,
    names_are_ordered_folded_and_by_code_points,
    ties_are_broken_by_number_in_the_direction_of_the_order,
    customers_never_activated_come_last_in_both_directions,
    a_walk_sees_every_row_once_in_the_order_of_the_pages,
    pages_by_offset_add_up_to_the_whole_list,
    an_offset_past_the_end_gives_no_rows_and_the_total,
    a_walk_goes_on_after_a_row_that_is_gone,
    a_filter_by_status_holds_those_of_that_status,
    criteria_hold_together_in_every_order_and_the_total_counts_them,
    every_word_has_to_begin_a_word_of_the_customer,
    marks_of_patterns_and_query_languages_are_plain_text,
    words_of_any_script_and_length_are_found_whole_and_by_their_beginning,
    any_number_of_words_may_be_asked_for,
    a_search_follows_changes_and_deletions,
    a_customer_named_after_its_external_id_is_found_by_it,
    lists_and_totals_hold_one_organization_alone,
    an_organization_that_there_is_not_has_an_empty_list,
    the_total_follows_creations_and_deletions,
}
