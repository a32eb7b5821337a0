//! `PUT /v1/customers/external/{id}` as an upsert, and what a put answers.

use custodia_domain::OrganizationId;
use custodia_domain::ports::{CustomerStore as _, EventQuery};
use serde_json::json;

use super::{Kit, Reply};

const ADA: &str = "/v1/customers/external/ada";
const PREFER: (&str, &str) = ("Prefer", "upsert");
const FULL: &str = r#"{"officeId":2,"firstname":"Ada","lastname":"Lovelace","mobileNo":"1","genderId":3,"active":true,
    "activationDate":"2026-05-22"}"#;

async fn upsert(kit: &Kit, body: &str) -> Reply {
    kit.ask("PUT", ADA, &[PREFER], body).await
}

impl Kit {
    /// How many events the first organization has.
    async fn events(&self) -> usize {
        let organization = OrganizationId::FIRST;
        let query =
            EventQuery { organization, after: None, through: None, kinds: Vec::new(), customer: None, limit: 500 };
        self.store.events(&query).await.unwrap().len()
    }
}

#[track_caller]
fn outcome(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.header("custodia-outcome").unwrap()
}

#[tokio::test]
async fn without_more_than_its_name_it_creates_by_the_partner_form() {
    for body in ["{}", r#"{"externalId":"ada"}"#, r#"{"externalId":null,"mobileNo":null,"officeId":null}"#] {
        let kit = Kit::new().await;
        let reply = upsert(&kit, body).await;
        assert_eq!((outcome(&reply), reply.header("etag")), ("created", Some("\"1\"")), "{body}");
        assert_eq!(reply.header("preference-applied"), Some("upsert"));
        let created = reply.ok();
        assert_eq!((&created["displayName"], &created["status"]), (&json!("ada Customer"), &json!("Active")));
        assert_eq!(created["activationDate"], "2026-05-25");
        assert_eq!(kit.get(ADA).await.ok(), created);
    }
}

#[tokio::test]
async fn with_more_it_creates_by_the_full_form_and_says_what_that_lacks() {
    let kit = Kit::new().await;
    let lacking = upsert(&kit, r#"{"mobileNo":"1"}"#).await;
    assert_eq!(
        lacking.problems(),
        ["active: required", "firstname: required", "lastname: required", "officeId: required"]
    );
    let wrong = upsert(
        &kit,
        r#"{"externalId":"eve","officeId":9,"firstname":"A","lastname":"L","active":false,"x":1,
        "submittedDate":"2026-05-26"}"#,
    );
    assert_eq!(
        wrong.await.problems(),
        [
            "externalId: must be that of the path",
            "officeId: unknown",
            "submittedDate: must not be in the future",
            "x: unknown field"
        ]
    );
    assert_eq!(kit.events().await, 0);
    let created = upsert(&kit, FULL).await;
    assert_eq!(outcome(&created), "created");
    let ada = created.ok();
    assert_eq!(
        (&ada["officeName"], &ada["mobileNo"], &ada["externalId"]),
        (&json!("Coast"), &json!("1"), &json!("ada"))
    );
    assert_eq!((&ada["activationDate"], &ada["genderId"]), (&json!("2026-05-22"), &json!("3")));
}

#[tokio::test]
async fn what_is_there_already_is_unchanged_and_makes_no_event() {
    let kit = Kit::new().await;
    for (body, wanted) in
        [(FULL, "created"), (FULL, "unchanged"), ("{}", "unchanged"), (r#"{"mobileNo":"1"}"#, "unchanged")]
    {
        let reply = kit.ask("PUT", &format!("{ADA}?upsert=true"), &[], body).await;
        assert_eq!((outcome(&reply), reply.header("etag")), (wanted, Some("\"1\"")), "{body}");
        assert_eq!(reply.header("preference-applied"), None, "nothing was preferred");
    }
    assert_eq!(kit.events().await, 1);
}

#[tokio::test]
async fn what_differs_is_updated_and_may_rename() {
    let kit = Kit::new().await;
    upsert(&kit, FULL).await.ok();
    let updated = upsert(&kit, r#"{"mobileNo":"2","officeId":"2","active":true}"#).await;
    assert_eq!((outcome(&updated), updated.header("etag")), ("updated", Some("\"2\"")));
    assert_eq!((&updated.ok()["firstname"], &updated.ok()["mobileNo"]), (&json!("Ada"), &json!("2")));
    let cleared = upsert(&kit, r#"{"mobileNo":null}"#).await;
    assert_eq!(outcome(&cleared), "updated");
    assert_eq!(cleared.ok().get("mobileNo"), None);
    let renamed = upsert(&kit, r#"{"externalId":"ada-2"}"#).await;
    assert_eq!((outcome(&renamed), &renamed.ok()["externalId"]), ("updated", &json!("ada-2")));
    kit.partner("eve").await;
    let taken = kit.ask("PUT", "/v1/customers/external/ada-2", &[PREFER], r#"{"externalId":"eve"}"#).await;
    assert_eq!(taken.code(409), "aborted");
}

#[tokio::test]
async fn what_no_update_changes_has_to_be_as_it_is() {
    let kit = Kit::new().await;
    upsert(&kit, FULL).await.ok();
    let other =
        r#"{"officeId":1,"active":false,"activationDate":"2026-05-21","genderId":4,"clientTypeId":1,"mobileNo":"2"}"#;
    let refused = upsert(&kit, other).await;
    assert_eq!(refused.code(409), "aborted");
    for name in ["officeId", "active", "activationDate", "genderId", "clientTypeId"] {
        assert!(refused.text.contains(name), "{}", refused.text);
    }
    assert_eq!(kit.get(ADA).await.ok()["version"], 1);
}

#[tokio::test]
async fn the_problems_told_are_those_of_a_creation_or_of_an_update_with_all_others() {
    let kit = Kit::new().await;
    let body = r#"{"firstname":null,"emailAddress":"x","x":1}"#;
    let path = format!("{ADA}?upsert=true&y=1");
    let headers = [("If-Match", "x"), ("Custodia-Reason", "%")];
    let absent = kit.ask("PUT", &path, &headers, body).await.fields();
    let header_fields = ["Custodia-Reason", "If-Match"];
    assert_eq!(absent[..2], header_fields);
    assert_eq!(absent[2..], ["active", "emailAddress", "firstname", "lastname", "officeId", "x", "y"]);
    kit.partner("ada").await;
    let present = kit.ask("PUT", &path, &headers, body).await.fields();
    assert_eq!(present[..2], header_fields);
    assert_eq!(present[2..], ["emailAddress", "firstname", "x", "y"]);
    // A body that would create nothing is not asked to.
    assert_eq!(outcome(&upsert(&kit, r#"{"mobileNo":"7"}"#).await), "updated");
    let future = upsert(&kit, r#"{"firstname":null,"dateOfBirth":"2026-05-26"}"#).await;
    assert_eq!(future.fields(), ["dateOfBirth", "firstname"]);
}

#[tokio::test]
async fn conditions_make_it_create_only_or_update_only() {
    let kit = Kit::new().await;
    for tag in ["*", "\"1\""] {
        let reply = kit.ask("PUT", ADA, &[PREFER, ("If-Match", tag)], "{}").await;
        assert_eq!((reply.code(412).as_str(), reply.header("etag")), ("failed_precondition", None));
    }
    let create_only = [PREFER, ("If-None-Match", "*")];
    assert_eq!(outcome(&kit.ask("PUT", ADA, &create_only, "{}").await), "created");
    let there = kit.ask("PUT", ADA, &create_only, "{}").await;
    assert_eq!((there.code(412).as_str(), there.header("etag")), ("failed_precondition", Some("\"1\"")));
    let matching = kit.ask("PUT", ADA, &[PREFER, ("If-Match", "\"1\"")], r#"{"mobileNo":"1"}"#).await;
    assert_eq!(outcome(&matching), "updated");
    let stale = kit.ask("PUT", ADA, &[PREFER, ("If-Match", "\"1\"")], r#"{"mobileNo":"2"}"#).await;
    assert_eq!((stale.code(412).as_str(), stale.header("etag")), ("failed_precondition", Some("\"2\"")));
    let both = kit.ask("PUT", ADA, &[PREFER, ("If-Match", "*"), ("If-None-Match", "*")], "{}").await;
    assert_eq!(both.fields(), ["If-None-Match"]);
    // Without the wish for an upsert nothing is created.
    assert_eq!(kit.ask("PUT", ADA, &[("If-None-Match", "*")], r#"{"mobileNo":"2"}"#).await.status, 412);
    assert_eq!(kit.put("/v1/customers/external/eve", r#"{"mobileNo":"2"}"#).await.code(404), "not_found");
}

#[tokio::test]
async fn a_closed_customer_takes_what_changes_nothing_alone() {
    let kit = Kit::new().await;
    upsert(&kit, FULL).await.ok();
    kit.post(&format!("{ADA}/close"), r#"{"closureDate":"2026-05-25","closureReasonId":1}"#).await.ok();
    assert_eq!(outcome(&upsert(&kit, r#"{"mobileNo":"1","firstname":"Ada"}"#).await), "unchanged");
    assert_eq!(outcome(&upsert(&kit, "{}").await), "unchanged");
    assert_eq!(upsert(&kit, r#"{"mobileNo":"2"}"#).await.code(409), "aborted");
    assert_eq!(upsert(&kit, FULL).await.code(409), "aborted");
}

#[tokio::test]
async fn a_key_gives_the_same_outcome_again() {
    let kit = Kit::new().await;
    let headers = [PREFER, ("Idempotency-Key", "k-1")];
    let first = kit.ask("PUT", ADA, &headers, "{}").await;
    let second = kit.ask("PUT", ADA, &headers, "{}").await;
    assert_eq!((outcome(&first), outcome(&second)), ("created", "created"));
    assert_eq!((second.header("idempotent-replayed"), &second.text), (Some("true"), &first.text));
    assert_eq!(second.header("preference-applied"), Some("upsert"));
    assert_eq!(outcome(&upsert(&kit, "{}").await), "unchanged");
}

#[tokio::test]
async fn a_number_names_nobody_new() {
    let kit = Kit::new().await;
    kit.partner("ada").await;
    let asked = kit.put("/v1/customers/1?upsert=true", r#"{"mobileNo":"1"}"#).await;
    assert_eq!(asked.fields(), ["upsert"]);
    assert_eq!(kit.put(&format!("{ADA}?upsert=1"), "{}").await.fields(), ["body", "upsert"]);
    let preferred = kit.ask("PUT", "/v1/customers/1", &[PREFER], r#"{"mobileNo":"1"}"#).await;
    assert_eq!((outcome(&preferred), preferred.header("preference-applied")), ("updated", None));
    let plain = kit.put(&format!("{ADA}?upsert=false"), r#"{"mobileNo":"1"}"#).await;
    assert_eq!(outcome(&plain), "unchanged");
}

#[tokio::test]
async fn names_that_are_shown_already_are_no_change_of_name() {
    let kit = Kit::new().await;
    kit.partner("ada").await;
    let same = kit.put(ADA, r#"{"firstname":"ada","lastname":"Customer"}"#).await;
    assert_eq!(outcome(&same), "unchanged");
    let renamed = kit.put(ADA, r#"{"externalId":"eve"}"#).await.ok();
    assert_eq!(renamed["displayName"], "eve Customer", "it still follows");
}

#[tokio::test]
async fn a_foreign_customer_of_the_same_name_is_another() {
    let kit = Kit::new().await;
    upsert(&kit, "{}").await.ok();
    let foreign = kit.ask("PUT", ADA, &[PREFER, ("Authorization", "Bearer foreign")], "{}").await;
    assert_eq!(outcome(&foreign), "created");
    let read = kit.ask("PUT", ADA, &[PREFER, ("Authorization", "Bearer read")], "{}").await;
    assert_eq!(read.code(403), "permission_denied");
}
