//! `POST /v1/customers` in both forms.

use custodia_domain::ports::Directory as _;
use custodia_domain::{OfficeId, OrganizationId};
use serde_json::json;

use super::Kit;

const FULL: &str = r#"{"officeId":1,"legalFormId":1,"firstname":"Ada","lastname":"Lovelace","mobileNo":"+255700000000",
    "emailAddress":"ada@example.com","externalId":"ext-ada-001","active":true,"activationDate":"2026-05-22"}"#;

/// The full body with some members set to others; `null` in the text takes a member away.
fn full_with(changes: &serde_json::Value) -> String {
    let mut body: serde_json::Value = serde_json::from_str(FULL).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(name);
        } else {
            body[name] = value.clone();
        }
    }
    body.to_string()
}

#[tokio::test]
async fn the_partner_form_creates_an_active_customer_named_after_its_external_id() {
    let kit = Kit::new().await;
    let reply = kit.post("/v1/customers", r#"{"externalId":"ext-ada-001"}"#).await;
    reply.ok();
    assert_eq!(
        reply.text,
        r#"{"id":"1","accountNo":"000000001","externalId":"ext-ada-001","status":"Active","active":true,"officeId":"1","officeName":"Head Office","firstname":"ext-ada-001","lastname":"Customer","displayName":"ext-ada-001 Customer","activationDate":"2026-05-25","submittedDate":"2026-05-25","version":1}"#
    );
    assert_eq!(reply.header("etag"), Some("\"1\""));
}

#[tokio::test]
async fn the_full_form_creates_a_customer_with_everything_that_is_known() {
    let kit = Kit::new().await;
    let body = full_with(&json!({"middlename": "King", "dateOfBirth": "1815-12-10", "genderId": 3, "clientTypeId": 1}));
    let reply = kit.post("/v1/customers", &body).await;
    reply.ok();
    assert_eq!(
        reply.text,
        r#"{"id":"1","accountNo":"000000001","externalId":"ext-ada-001","status":"Active","active":true,"officeId":"1","officeName":"Head Office","firstname":"Ada","middlename":"King","lastname":"Lovelace","displayName":"Ada King Lovelace","mobileNo":"+255700000000","emailAddress":"ada@example.com","dateOfBirth":"1815-12-10","activationDate":"2026-05-22","submittedDate":"2026-05-22","clientTypeId":"1","legalFormId":"1","genderId":"3","version":1}"#
    );
}

#[tokio::test]
async fn the_example_of_the_full_form_is_accepted() {
    let kit = Kit::new().await;
    assert_eq!(kit.post("/v1/customers", FULL).await.ok()["displayName"], "Ada Lovelace");
}

#[tokio::test]
async fn an_explicit_null_is_an_absent_member_in_both_forms() {
    let kit = Kit::new().await;
    let partner =
        kit.post("/v1/customers", r#"{"externalId":"a","firstname":null,"officeId":null,"active":null}"#).await.ok();
    assert_eq!(partner["displayName"], "a Customer");
    let body =
        r#"{"officeId":1,"firstname":null,"fullname":"Ada","active":false,"activationDate":null,"mobileNo":null}"#;
    assert_eq!(kit.post("/v1/customers", body).await.ok()["displayName"], "Ada");
    assert_eq!(kit.post("/v1/customers", r#"{"externalId":null}"#).await.problems(), ["externalId: required"]);
}

#[tokio::test]
async fn the_partner_form_wants_an_external_id() {
    let kit = Kit::new().await;
    assert_eq!(kit.post("/v1/customers", "{}").await.problems(), ["externalId: required"]);
    assert_eq!(kit.post("/v1/customers", r#"{"externalId":""}"#).await.problems(), ["externalId: must not be empty"]);
    assert_eq!(kit.post("/v1/customers", r#"{"externalId":5}"#).await.problems(), ["externalId: must be a string"]);
}

#[tokio::test]
async fn a_mistyped_member_does_not_vanish() {
    let kit = Kit::new().await;
    let fields = kit.post("/v1/customers", r#"{"externalId":"a","extrenalId":"b"}"#).await.fields();
    assert!(fields.contains(&"extrenalId".to_owned()), "{fields:?}");
    let reply = kit.post("/v1/customers", r#"{"externalId":"a","extrenalId":null}"#).await;
    assert_eq!(reply.problems(), ["extrenalId: unknown field"]);
    let reply = kit.post("/v1/customers", &full_with(&json!({"status": "Active"}))).await;
    assert_eq!(reply.problems(), ["status: unknown field"]);
}

#[tokio::test]
async fn unknown_members_beyond_a_hundred_are_counted() {
    let kit = Kit::new().await;
    let members: Vec<_> = (0..150).map(|index| format!("\"x{index}\":1")).collect();
    let fields = kit.put("/v1/customers/1", &format!("{{{}}}", members.join(","))).await.problems();
    assert_eq!(fields.len(), 101);
    assert_eq!(fields[0], "body: has 50 more unknown fields");
}

#[tokio::test]
async fn the_organizations_default_office_takes_partner_customers() {
    let kit = Kit::new().await;
    kit.store.set_default_office(OrganizationId::FIRST, OfficeId::parse(2).unwrap()).await.unwrap();
    let created = kit.partner("a").await;
    assert_eq!((&created["officeId"], &created["officeName"]), (&json!("2"), &json!("Coast")));
}

#[tokio::test]
async fn all_problems_are_told_at_once_in_the_words_of_the_contract() {
    let kit = Kit::new().await;
    let reply = kit.post("/v1/customers", r#"{"firstname":"Ada","lastname":"Lovelace","active":true}"#).await;
    assert_eq!(
        reply.text,
        r#"{"code":"invalid_argument","message":"[{\"field\":\"officeId\",\"error\":\"required\"},{\"field\":\"activationDate\",\"error\":\"required when active=true\"}]"}"#
    );
    let body = r#"{"officeId":9,"fullname":"x","emailAddress":"no","mobileNo":"","genderId":0,"clientTypeId":3,
        "active":"yes","submittedDate":"2026-05-26","dateOfBirth":"2026-02-30","legalFormId":"x","zzz":1}"#;
    assert_eq!(
        kit.post("/v1/customers?verbose=1", body).await.problems(),
        [
            "active: must be true or false",
            "clientTypeId: must be 1 (Person) or 2 (Entity)",
            "dateOfBirth: is not a date of the calendar",
            "emailAddress: must have an @-sign between a mailbox and a domain",
            "genderId: must be a positive integer of at most 63 bits",
            "legalFormId: must be an integer",
            "mobileNo: must not be empty",
            "officeId: unknown",
            "submittedDate: must not be in the future",
            "verbose: unknown parameter",
            "zzz: unknown field",
        ]
    );
}

#[tokio::test]
async fn ids_are_accepted_as_integers_and_as_strings() {
    let kit = Kit::new().await;
    let created = kit.post("/v1/customers", &full_with(&json!({"officeId": "2", "clientTypeId": "2"}))).await.ok();
    assert_eq!((&created["officeId"], &created["clientTypeId"]), (&json!("2"), &json!("2")));
    for bad in [json!("x"), json!(1.0), json!(true), json!("1.0"), json!("+1"), json!(""), json!([1]), json!(" 1")] {
        let reply = kit.post("/v1/customers", &full_with(&json!({"officeId": bad}))).await;
        assert_eq!(reply.problems(), ["officeId: must be an integer"], "{bad}");
    }
    let reply = kit.post("/v1/customers", &full_with(&json!({"officeId": 0}))).await;
    assert_eq!(reply.fields(), ["officeId"]);
}

#[tokio::test]
async fn an_unknown_office_is_an_invalid_argument() {
    let kit = Kit::new().await;
    assert_eq!(kit.post("/v1/customers", &full_with(&json!({"officeId": 3}))).await.problems(), ["officeId: unknown"]);
    let body = full_with(&json!({"officeId": 2}));
    let foreign = kit.ask("POST", "/v1/customers", &[("Authorization", "Bearer foreign")], &body).await;
    assert_eq!(foreign.problems(), ["officeId: unknown"], "the office of another organization is none");
}

#[tokio::test]
async fn a_name_is_either_whole_or_in_parts() {
    let kit = Kit::new().await;
    let no_name = full_with(&json!({"firstname": null, "lastname": null}));
    assert_eq!(kit.post("/v1/customers", &no_name).await.problems(), ["firstname: required", "lastname: required"]);
    let half = full_with(&json!({"lastname": null, "middlename": "M"}));
    assert_eq!(kit.post("/v1/customers", &half).await.problems(), ["lastname: required"]);
    let both = full_with(&json!({"fullname": "Ada Lovelace", "middlename": "M"}));
    assert_eq!(
        kit.post("/v1/customers", &both).await.problems(),
        [
            "firstname: must not be given beside fullname",
            "lastname: must not be given beside fullname",
            "middlename: must not be given beside fullname",
        ]
    );
    let whole = full_with(&json!({"firstname": null, "lastname": null, "fullname": "Ada Lovelace"}));
    let created = kit.post("/v1/customers", &whole).await.ok();
    assert_eq!(created["displayName"], "Ada Lovelace");
    assert!(created.get("firstname").is_none() && created.get("lastname").is_none());
}

#[tokio::test]
async fn names_and_contacts_have_their_limits() {
    let kit = Kit::new().await;
    let long = |count: usize| "é".repeat(count);
    for (field, most) in [("firstname", 100), ("middlename", 100), ("lastname", 100), ("mobileNo", 50)] {
        let mut change = json!({"externalId": null});
        change[field] = json!(long(most));
        kit.post("/v1/customers", &full_with(&change)).await.ok();
        change[field] = json!(long(most + 1));
        let reply = kit.post("/v1/customers", &full_with(&change)).await;
        assert_eq!(reply.problems(), [format!("{field}: must have at most {most} characters")]);
    }
    let whole =
        |name: String| full_with(&json!({"firstname": null, "lastname": null, "externalId": null, "fullname": name}));
    kit.post("/v1/customers", &whole(long(200))).await.ok();
    assert_eq!(kit.post("/v1/customers", &whole(long(201))).await.fields(), ["fullname"]);
    let control = full_with(&json!({"firstname": "A\u{7}"}));
    assert_eq!(
        kit.post("/v1/customers", &control).await.problems(),
        ["firstname: must not contain control characters"]
    );
    let mailbox = |length: usize| format!("{}@{}.example.com", "a".repeat(60), "b".repeat(length - 73));
    let address = |length| full_with(&json!({"externalId": null, "emailAddress": mailbox(length)}));
    assert_eq!(mailbox(255).len(), 255);
    assert_eq!(kit.post("/v1/customers", &address(255)).await.fields(), ["emailAddress"]);
}

#[tokio::test]
async fn a_mirrored_name_may_be_longer_than_a_name() {
    let kit = Kit::new().await;
    let id = "é".repeat(128);
    let created = kit.partner(&id).await;
    assert_eq!(created["firstname"], id.as_str());
    assert_eq!(created["displayName"], format!("{id} Customer"));
}

#[tokio::test]
async fn activation_belongs_to_active_customers() {
    let kit = Kit::new().await;
    let missing = full_with(&json!({"activationDate": null}));
    assert_eq!(kit.post("/v1/customers", &missing).await.problems(), ["activationDate: required when active=true"]);
    let superfluous = full_with(&json!({"active": false}));
    assert_eq!(
        kit.post("/v1/customers", &superfluous).await.problems(),
        ["activationDate: must not be given when active=false"]
    );
    let undecided = full_with(&json!({"active": null}));
    assert_eq!(kit.post("/v1/customers", &undecided).await.problems(), ["active: required"]);
    let pending = kit.pending().await;
    assert_eq!((&pending["status"], &pending["active"]), (&json!("Pending"), &json!(false)));
    assert!(pending.get("activationDate").is_none());
    assert_eq!(pending["submittedDate"], "2026-05-20");
}

#[tokio::test]
async fn dates_are_real_and_not_in_the_future() {
    let kit = Kit::new().await;
    for field in ["submittedDate", "activationDate", "dateOfBirth"] {
        for (date, error) in [
            ("2026-05-26", "must not be in the future"),
            ("2026-02-29", "is not a date of the calendar"),
            ("20260522", "must have the form YYYY-MM-DD"),
            ("2026-05-22T00:00:00Z", "must have the form YYYY-MM-DD"),
            ("", "must have the form YYYY-MM-DD"),
        ] {
            let mut change = json!({});
            change[field] = json!(date);
            let problems = kit.post("/v1/customers", &full_with(&change)).await.problems();
            assert!(problems.contains(&format!("{field}: {error}")), "{field} {date}: {problems:?}");
        }
    }
    let today =
        full_with(&json!({"submittedDate": "2026-05-25", "activationDate": "2026-05-25", "dateOfBirth": "2026-05-25"}));
    kit.post("/v1/customers", &today).await.ok();
}

#[tokio::test]
async fn activation_is_not_before_submission_and_sets_its_default() {
    let kit = Kit::new().await;
    let early = full_with(&json!({"submittedDate": "2026-05-23"}));
    assert_eq!(
        kit.post("/v1/customers", &early).await.problems(),
        ["activationDate: must not be before the submission date"]
    );
    assert_eq!(kit.post("/v1/customers", FULL).await.ok()["submittedDate"], "2026-05-22");
    let pending = r#"{"officeId":1,"fullname":"x","active":false}"#;
    assert_eq!(kit.post("/v1/customers", pending).await.ok()["submittedDate"], "2026-05-25");
}

#[tokio::test]
async fn a_second_customer_of_an_external_id_is_aborted_whatever_its_form() {
    let kit = Kit::new().await;
    kit.partner("ext-ada-001").await;
    assert_eq!(kit.post("/v1/customers", FULL).await.code(409), "aborted");
    assert_eq!(kit.post("/v1/customers", r#"{"externalId":"ext-ada-001"}"#).await.code(409), "aborted");
    let another_case = kit.partner("EXT-ADA-001").await;
    assert_eq!(another_case["externalId"], "EXT-ADA-001");
    let foreign = [("Authorization", "Bearer foreign")];
    kit.ask("POST", "/v1/customers", &foreign, r#"{"externalId":"ext-ada-001"}"#).await.ok();
}

#[tokio::test]
async fn an_external_id_is_optional_in_the_full_form() {
    let kit = Kit::new().await;
    let created = kit.post("/v1/customers", r#"{"officeId":1,"fullname":"x","active":false}"#).await.ok();
    assert!(created.get("externalId").is_none());
    let bad = [(" a", "white space"), ("a\u{85}", "control"), (&"x".repeat(129) as &str, "at most 128")];
    for (id, part) in bad {
        let reply = kit.post("/v1/customers", &full_with(&json!({"externalId": id}))).await;
        assert!(reply.problems()[0].contains(part), "{id}");
    }
}

#[tokio::test]
async fn a_malformed_body_has_one_entry_with_the_field_body() {
    let kit = Kit::new().await;
    for body in [
        "{",
        "[]",
        "\"x\"",
        "5",
        "null",
        "{\"externalId\":\"a\"} x",
        r#"{"externalId":"a","externalId":"b"}"#,
        "{\"externalId\":\"a\\u0000\"}",
        "{'externalId':'a'}",
        " ",
    ] {
        assert_eq!(kit.post("/v1/customers", body).await.fields(), ["body"], "{body}");
    }
    let deep = format!("{{\"externalId\":{}{}}}", "[".repeat(33), "]".repeat(33));
    assert_eq!(kit.post("/v1/customers", &deep).await.fields(), ["body"]);
}

#[tokio::test]
async fn another_media_type_and_too_large_a_body_are_refused_in_the_dialects_shape() {
    let kit = Kit::new().await;
    let reply = kit.ask("POST", "/v1/customers", &[("Content-Type", "text/plain")], "{}").await;
    assert_eq!(reply.code(415), "invalid_argument");
    assert!(reply.text.contains("Content-Type"));
    assert_eq!(kit.post("/v1/customers", "").await.code(415), "invalid_argument");
    let large = format!("{{\"externalId\":\"{}\"}}", "x".repeat(1 << 20));
    let reply = kit.post("/v1/customers", &large).await;
    assert_eq!(reply.code(413), "invalid_argument");
    assert!(reply.text.contains(r#"\"field\":\"body\""#));
}

#[tokio::test]
async fn the_first_ids_of_an_organization_count_up_from_one() {
    let kit = Kit::new().await;
    for id in ["1", "2", "3"] {
        assert_eq!(kit.partner(&format!("x{id}")).await["id"], id);
    }
    let foreign = [("Authorization", "Bearer foreign")];
    assert_eq!(kit.ask("POST", "/v1/customers", &foreign, r#"{"externalId":"a"}"#).await.ok()["id"], "1");
}
