//! The feed: pages, cursors, filters and waiting.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Kit, request};
use crate::arrivals::Arrivals;

impl Kit {
    async fn feed(&self, query: &str) -> Value {
        self.get(&format!("/v1/events{query}")).await.ok()
    }
}

fn ids(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect()
}

fn next(page: &Value) -> &str {
    page["nextCursor"].as_str().unwrap()
}

#[tokio::test]
async fn a_reader_gets_every_event_once_and_in_order() {
    let kit = Kit::new().await;
    let empty = kit.feed("").await;
    assert_eq!((ids(&empty).len(), &empty["more"]), (0, &json!(false)));
    kit.partner("one").await;
    kit.partner("two").await;
    kit.put("/v1/customers/external/one", r#"{"mobileNo":"+255700000000"}"#).await.ok();
    let whole = kit.feed(&format!("?after={}", next(&empty))).await;
    assert_eq!(ids(&whole), ["evt_1_1", "evt_1_2", "evt_1_3"]);
    assert_eq!(ids(&kit.feed("").await), ids(&whole));
    let event = &whole["events"][2];
    assert_eq!(event["type"], "customer.updated");
    assert_eq!(
        (&event["customerId"], &event["externalId"], &event["version"]),
        (&json!("1"), &json!("one"), &json!(2))
    );
    assert_eq!(event["changed"], json!({"mobileNo": {"to": "+255700000000"}}));
    assert_eq!(event["actor"], "write");

    let mut seen = Vec::new();
    let mut page = kit.feed("?limit=2").await;
    assert_eq!(page["more"], true);
    while !ids(&page).is_empty() {
        seen.extend(ids(&page).iter().map(|id| (*id).to_owned()));
        page = kit.feed(&format!("?limit=2&after={}", next(&page))).await;
    }
    assert_eq!(seen, ids(&whole));
    assert_eq!(page["more"], false);
}

#[tokio::test]
async fn a_cursor_goes_on_under_another_filter_and_beyond_what_was_passed_over() {
    let kit = Kit::new().await;
    for id in ["one", "two", "three"] {
        kit.partner(id).await;
    }
    kit.put("/v1/customers/external/two", r#"{"mobileNo":"+255700000000"}"#).await.ok();
    let page = kit.feed("?types=customer.updated,customer.closed").await;
    assert_eq!(ids(&page), ["evt_1_4"]);
    let page = kit.feed("?types=customer.created&limit=1&customerId=2").await;
    assert_eq!((ids(&page), &page["more"]), (vec!["evt_1_2"], &json!(true)));
    assert_eq!(ids(&kit.feed(&format!("?after={}", next(&page))).await), ["evt_1_3", "evt_1_4"]);
    let page = kit.feed("?types=loan.created").await;
    assert_eq!((ids(&page).len(), &page["more"]), (0, &json!(false)));
    assert!(ids(&kit.feed(&format!("?after={}", next(&page))).await).is_empty());
    assert_eq!(ids(&kit.feed("?customerId=99").await).len(), 0);
    let now = kit.feed("?after=now").await;
    assert_eq!(ids(&now).len(), 0);
    kit.partner("four").await;
    assert_eq!(ids(&kit.feed(&format!("?after={}", next(&now))).await), ["evt_1_5"]);
}

#[tokio::test]
async fn a_reader_of_rare_types_gets_on_by_bounded_steps() {
    let kit = Kit::new().await;
    kit.partner("rare").await;
    let body = r#"{"mobileNo":"+255700000000"}"#;
    for turn in 0..custodia_domain::registry::FEED_SCAN {
        let body = if turn % 2 == 0 { body } else { r#"{"mobileNo":null}"# };
        assert_eq!(kit.put("/v1/customers/external/rare", body).await.status, 200);
    }
    kit.partner("other").await;
    let page = kit.feed("?types=customer.closed&wait=30").await;
    assert_eq!((ids(&page).len(), &page["more"]), (0, &json!(true)));
    let page = kit.feed(&format!("?types=customer.created&after={}", next(&page))).await;
    assert_eq!(ids(&page), ["evt_1_5002"]);
}

#[tokio::test]
async fn everything_wrong_with_a_query_is_told_and_types_by_name() {
    let kit = Kit::new().await;
    let query = "after=x&types=customer.created,customer.born,shoe&customerId=0&wait=31&limit=501&page=1";
    assert_eq!(
        kit.get(&format!("/v1/events?{query}")).await.problems(),
        [
            "after: is neither `now` nor a cursor of this organization's events",
            "customerId: must be a positive integer",
            "limit: must be a whole number from 1 to 500",
            "page: unknown parameter",
            "types: unknown: customer.born, shoe",
            "wait: must be a whole number from 0 to 30",
        ]
    );
    for (query, field) in [("limit=0", "limit"), ("wait=-1", "wait"), ("wait=1.5", "wait"), ("wait=", "wait")] {
        assert_eq!(kit.get(&format!("/v1/events?{query}")).await.fields(), [field]);
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_organization_alone() {
    let kit = Kit::new().await;
    kit.partner("one").await;
    let cursor = next(&kit.feed("").await).to_owned();
    let path = format!("/v1/events?after={cursor}");
    let foreign = |path: &str| kit.send(request("GET", path, &[("Authorization", "Bearer foreign")], ""));
    assert_eq!(foreign(&path).await.fields(), ["after"]);
    assert!(ids(&foreign("/v1/events").await.ok()).is_empty());
    assert_eq!(kit.get(&path[..path.len() - 1]).await.fields(), ["after"]);
    let reader = kit.send(request("GET", &path, &[("Authorization", "Bearer read")], "")).await;
    assert!(ids(&reader.ok()).is_empty());
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_the_next_commit_that_it_wants() {
    let kit = Kit::new().await;
    kit.partner("one").await;
    let (page, ()) = tokio::join!(kit.feed("?after=now&types=customer.updated&wait=30"), async {
        while kit.arrivals.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        kit.partner("two").await;
        kit.put("/v1/customers/external/two", r#"{"mobileNo":"+255700000000"}"#).await.ok();
    });
    assert_eq!(ids(&page), ["evt_1_3"]);
    let started = std::time::Instant::now();
    assert_eq!(ids(&kit.feed("?wait=30").await).len(), 3);
    assert!(started.elapsed() < Duration::from_secs(20), "there was something to answer at once");
}

#[tokio::test]
async fn the_end_of_the_service_or_of_the_wait_is_an_empty_page() {
    let kit = Kit::new().await;
    assert!(ids(&kit.feed("?wait=1").await).is_empty());
    let closing = async {
        while kit.arrivals.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        Arrivals::close(&kit.arrivals);
    };
    let (page, ()) = tokio::join!(kit.feed("?wait=30"), closing);
    assert!(ids(&page).is_empty());
    kit.partner("late").await;
    assert_eq!(ids(&kit.feed(&format!("?wait=30&after={}", next(&page))).await), ["evt_1_1"]);
}
