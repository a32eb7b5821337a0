//! `PUT /v1/customers/{id}`.

use serde_json::{Value, json};

use super::Kit;

const ADA: &str = "/v1/customers/external/ada";

/// A customer with every detail, at version 1.
async fn detailed() -> Kit {
    let kit = Kit::new().await;
    let body = r#"{"officeId":1,"firstname":"Ada","middlename":"King","lastname":"Lovelace","mobileNo":"1",
        "emailAddress":"a@example.com","dateOfBirth":"1815-12-10","externalId":"ada","active":true,
        "activationDate":"2026-05-22"}"#;
    kit.post("/v1/customers", body).await.ok();
    kit
}

fn shown<'a>(customer: &'a Value, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| customer.get(name).map_or("-", |value| value.as_str().unwrap())).collect()
}

const DETAILS: [&str; 6] = ["firstname", "middlename", "lastname", "mobileNo", "emailAddress", "dateOfBirth"];

#[tokio::test]
async fn what_is_left_out_stays_as_it_is() {
    let kit = detailed().await;
    let reply = kit.put(ADA, r#"{"mobileNo":"2"}"#).await;
    let ada = reply.ok();
    assert_eq!(shown(&ada, &DETAILS), ["Ada", "King", "Lovelace", "2", "a@example.com", "1815-12-10"]);
    assert_eq!((&ada["version"], reply.header("etag")), (&json!(2), Some("\"2\"")));
    let all = r#"{"externalId":"ada2","firstname":"A","middlename":"K","lastname":"L","mobileNo":"3",
        "emailAddress":"b@example.com","dateOfBirth":"1815-12-11"}"#;
    let ada = kit.put(ADA, all).await.ok();
    assert_eq!(shown(&ada, &DETAILS), ["A", "K", "L", "3", "b@example.com", "1815-12-11"]);
    assert_eq!(kit.get(ADA).await.code(404), "not_found");
    assert_eq!(kit.get("/v1/customers/external/ada2").await.ok(), ada);
}

#[tokio::test]
async fn null_clears_what_may_be_absent_and_is_refused_for_the_rest() {
    let kit = detailed().await;
    let cleared =
        kit.put(ADA, r#"{"middlename":null,"mobileNo":null,"emailAddress":null,"dateOfBirth":null}"#).await.ok();
    assert_eq!(shown(&cleared, &DETAILS), ["Ada", "-", "Lovelace", "-", "-", "-"]);
    for name in ["externalId", "firstname", "lastname", "fullname"] {
        let body = format!("{{\"{name}\":null}}");
        assert_eq!(kit.put(ADA, &body).await.problems(), [format!("{name}: must not be null")]);
    }
}

#[tokio::test]
async fn values_equal_to_the_present_ones_make_no_version() {
    let kit = detailed().await;
    let reply = kit.put(ADA, r#"{"externalId":"ada","mobileNo":"1","lastname":"Lovelace"}"#).await;
    assert_eq!((&reply.ok()["version"], reply.header("etag")), (&json!(1), Some("\"1\"")));
}

#[tokio::test]
async fn an_update_has_at_least_one_member() {
    let kit = detailed().await;
    assert_eq!(kit.put(ADA, "{}").await.problems(), ["body: must have at least one member"]);
}

#[tokio::test]
async fn what_an_update_never_changes_is_an_unknown_field() {
    let kit = detailed().await;
    for name in [
        "status",
        "officeId",
        "accountNo",
        "id",
        "active",
        "activationDate",
        "submittedDate",
        "genderId",
        "clientTypeId",
    ] {
        let body = format!("{{\"{name}\":\"1\",\"mobileNo\":\"2\"}}");
        assert_eq!(kit.put(ADA, &body).await.problems(), [format!("{name}: unknown field")]);
    }
    let null = kit.put(ADA, r#"{"officeId":null}"#).await;
    assert_eq!(null.problems(), ["officeId: unknown field"]);
}

#[tokio::test]
async fn all_problems_of_an_update_are_told_at_once() {
    let kit = detailed().await;
    let body = r#"{"externalId":" a","firstname":7,"emailAddress":"x","dateOfBirth":"2026-05-26","x":1}"#;
    assert_eq!(
        kit.put(ADA, body).await.problems(),
        [
            "dateOfBirth: must not be in the future",
            "emailAddress: must have an @-sign between a mailbox and a domain",
            "externalId: must not begin or end with white space",
            "firstname: must be a string",
            "x: unknown field",
        ]
    );
    let future = kit.put(ADA, r#"{"dateOfBirth":"2026-05-26"}"#).await;
    assert_eq!(future.problems(), ["dateOfBirth: must not be in the future"]);
}

#[tokio::test]
async fn a_whole_name_replaces_the_parts_and_parts_replace_it_together() {
    let kit = detailed().await;
    let both = kit.put(ADA, r#"{"fullname":"Ada L","firstname":"Ada"}"#).await;
    assert_eq!(both.problems(), ["firstname: must not be given beside fullname"]);
    let whole = kit.put(ADA, r#"{"fullname":"Ada L"}"#).await.ok();
    assert_eq!(shown(&whole, &["firstname", "middlename", "lastname", "displayName"]), ["-", "-", "-", "Ada L"]);
    assert_eq!(kit.put(ADA, r#"{"firstname":"Ada"}"#).await.problems(), ["lastname: required"]);
    assert_eq!(kit.put(ADA, r#"{"lastname":"L"}"#).await.problems(), ["firstname: required"]);
    let parts = kit.put(ADA, r#"{"firstname":"Ada","lastname":"Byron"}"#).await.ok();
    assert_eq!(
        shown(&parts, &["firstname", "middlename", "lastname", "displayName"]),
        ["Ada", "-", "Byron", "Ada Byron"]
    );
}

#[tokio::test]
async fn a_mirrored_name_follows_its_external_id_until_names_are_set() {
    let kit = Kit::new().await;
    kit.partner("a").await;
    let followed = kit.put("/v1/customers/1", r#"{"externalId":"b"}"#).await.ok();
    assert_eq!(shown(&followed, &["firstname", "lastname", "displayName"]), ["b", "Customer", "b Customer"]);
    assert_eq!(kit.put("/v1/customers/1", r#"{"firstname":"Ada"}"#).await.problems(), ["lastname: required"]);
    kit.put("/v1/customers/1", r#"{"firstname":"Ada","lastname":"Lovelace"}"#).await.ok();
    let named = kit.put("/v1/customers/1", r#"{"externalId":"c"}"#).await.ok();
    assert_eq!(shown(&named, &["externalId", "firstname", "displayName"]), ["c", "Ada", "Ada Lovelace"]);
}

#[tokio::test]
async fn another_customers_external_id_is_aborted() {
    let kit = detailed().await;
    kit.partner("b").await;
    assert_eq!(kit.put(ADA, r#"{"externalId":"b"}"#).await.code(409), "aborted");
    assert_eq!(kit.get(ADA).await.ok()["version"], 1);
}

#[tokio::test]
async fn a_pending_customer_is_updated_too() {
    let kit = Kit::new().await;
    kit.pending().await;
    let ada = kit.put(ADA, r#"{"dateOfBirth":"1815-12-10"}"#).await.ok();
    assert_eq!((&ada["status"], &ada["dateOfBirth"]), (&json!("Pending"), &json!("1815-12-10")));
}

#[tokio::test]
async fn there_and_back_again_is_two_changes() {
    let kit = detailed().await;
    kit.put(ADA, r#"{"mobileNo":"2"}"#).await.ok();
    assert_eq!(kit.put(ADA, r#"{"mobileNo":"1"}"#).await.ok()["version"], 3);
}
