//! What each member may hold: required ones, types, enumerations, instants, and the rules between them.

use custodia_tests::{both, day};
use serde_json::{Value, json};

use crate::{Institution, batch, customer, paths, problems, profile, refused, with, without};

const REQUIRED: [&str; 10] = [
    "sourceCustomerId",
    "organizationId",
    "postalCode",
    "country",
    "customerCreationDate",
    "enrollmentStartDate",
    "enrollmentOptInStatus",
    "alertOptInStatus",
    "targetingIndicator",
    "accounts",
];
const OF_ACCOUNT: [&str; 7] = [
    "sourceAccountId",
    "sourceCustomerIds",
    "primarySourceCustomerId",
    "status",
    "type",
    "sourcePortfolioId",
    "accountOpenDate",
];
const OF_CARD: [&str; 8] =
    ["sourceAccountId", "sourceCustomerId", "last4", "iin", "cardType", "status", "networkIdentifier", "openDate"];

/// Where customers, accounts and cards stand in a customer, as JSON pointer and as path.
const PLACES: [(&str, &str); 3] = [
    ("", "customers[0]"),
    ("/accounts/0", "customers[0].accounts[0]"),
    ("/accounts/0/cards/0", "customers[0].accounts[0].cards[0]"),
];

/// Each enumeration: the pointer of its member, its path, and its values.
fn enumerations() -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    vec![
        ("/enrollmentOptInStatus", "customers[0].enrollmentOptInStatus", &["ACTIVE", "INACTIVE"]),
        (
            "/alertOptInStatus/0",
            "customers[0].alertOptInStatus[0]",
            &["ALL", "NEW", "ACTIVATED", "EXPIRING", "REDEMPTION", "CLOSE_THE_LOOP", "MISSED_OPPORTUNITY"],
        ),
        ("/targetingIndicator", "customers[0].targetingIndicator", &["TARGET", "DO_NOT_TARGET"]),
        ("/redemptionEligibility", "customers[0].redemptionEligibility", &["ALL", "NONE"]),
        ("/accounts/0/status", "customers[0].accounts[0].status", &["OPEN", "CLOSED", "DISPUTE", "FRAUD"]),
        (
            "/accounts/0/type",
            "customers[0].accounts[0].type",
            &["PPD", "MMA", "CRD", "DDA", "SAV", "SBCRD", "SBDDA", "SBS"],
        ),
        ("/accounts/0/cards/0/cardType", "customers[0].accounts[0].cards[0].cardType", &["CREDIT", "DEBIT", "PREPAID"]),
        ("/accounts/0/cards/0/status", "customers[0].accounts[0].cards[0].status", &["OPEN", "CLOSED"]),
    ]
}

/// With another value at a pointer, one of an array's items included.
fn set(mut value: Value, pointer: &str, new: Value) -> Value {
    match value.pointer_mut(pointer) {
        Some(found) => *found = new,
        None => return with(value, pointer, new),
    }
    value
}

/// The same customer, its account and its card under an id of their own.
fn renamed(value: &Value, id: &str) -> Value {
    serde_json::from_str(&value.to_string().replace("ada", id)).unwrap()
}

both! {
    async fn every_required_member_is_required_and_every_unknown_one_refused(server: Server) {
        let institution = Institution::of(&server).await;
        for ((pointer, path), members) in PLACES.iter().zip([&REQUIRED[..], &OF_ACCOUNT, &OF_CARD]) {
            for member in members {
                for value in [without(customer("ada"), &format!("{pointer}/{member}")),
                    with(customer("ada"), &format!("{pointer}/{member}"), json!(null))]
                {
                    let answer = institution.post(&batch(&[value])).await;
                    assert_eq!(problems(&answer), [format!("{path}.{member}: required")]);
                }
            }
            for unknown in ["nickname", "SourceCustomerId", "source_customer_id"] {
                let value = with(customer("ada"), &format!("{pointer}/{unknown}"), json!(null));
                let answer = institution.post(&batch(&[value])).await;
                assert_eq!(problems(&answer), [format!("{path}.{unknown}: unknown field")]);
            }
        }
        let null = ["/enrollmentEndDate", "/sourceParentCustomerId", "/redemptionEligibility", "/accounts/0/accountCloseDate",
            "/accounts/0/cards/0/closeDate"];
        let ada = null.into_iter().fold(customer("ada"), |ada, pointer| with(ada, pointer, json!(null)));
        institution.create(&[ada]).await;
        assert_eq!(server.total().await, 1);
    }

    async fn a_wrong_type_is_a_validation_error_with_its_path(server: Server) {
        let institution = Institution::of(&server).await;
        for ((pointer, path), members) in PLACES.iter().zip([&REQUIRED[..], &OF_ACCOUNT, &OF_CARD]) {
            for member in members {
                for wrong in [json!({}), json!(true), json!(1.5)] {
                    let value = with(customer("ada"), &format!("{pointer}/{member}"), wrong);
                    let told = paths(&institution.post(&batch(&[value])).await);
                    assert!(told.contains(&format!("{path}.{member}")), "{member}: {told:?}");
                }
            }
        }
        for (value, path) in [
            (json!(7), "customers[0]"), (json!(null), "customers[0]"), (json!([]), "customers[0]"),
            (with(customer("ada"), "/accounts", json!([7])), "customers[0].accounts[0]"),
            (with(customer("ada"), "/accounts/0/cards", json!(["x"])), "customers[0].accounts[0].cards[0]"),
            (with(customer("ada"), "/accounts/0/cards", json!({})), "customers[0].accounts[0].cards"),
            (with(customer("ada"), "/accounts/0/sourceCustomerIds", json!(["ada", 7])), "customers[0].accounts[0].sourceCustomerIds[1]"),
            (with(customer("ada"), "/accounts/0/sourceCustomerIds", json!([])), "customers[0].accounts[0].sourceCustomerIds"),
            (with(customer("ada"), "/alertOptInStatus", json!("ALL")), "customers[0].alertOptInStatus"),
        ] {
            let told = paths(&institution.post(&batch(&[value])).await);
            assert_eq!(told[0], path, "{told:?}");
        }
        for body in ["[]", "7", "\"customers\"", "null"] {
            let answer = institution.send(reqwest::Method::POST, crate::CUSTOMERS, body).await;
            refused(&answer, 400, "HttpMessageNotReadable", "Request could not be parsed");
        }
        assert_eq!(server.total().await, 0);
    }

    async fn every_value_of_an_enumeration_is_taken_and_no_other(server: Server) {
        let institution = Institution::of(&server).await;
        let mut all = Vec::new();
        for (number, (pointer, path, values)) in enumerations().into_iter().enumerate() {
            for (at, value) in values.iter().enumerate() {
                let mut one = set(customer("ada"), pointer, json!(value));
                if *value == "CLOSED" {
                    let member = if pointer.contains("cards") { "closeDate" } else { "accountCloseDate" };
                    one = with(one, &pointer.replace("status", member), json!("2024-01-01"));
                }
                all.push((renamed(&one, &format!("e{number}v{at}")), pointer, *value));
                let lower = set(customer("ada"), pointer, json!(value.to_lowercase()));
                assert_eq!(paths(&institution.post(&batch(&[lower])).await), [path], "{value}");
            }
            for wrong in [json!(""), json!("OTHER"), json!(7), json!(["ALL"])] {
                let answer = institution.post(&batch(&[set(customer("ada"), pointer, wrong)])).await;
                assert_eq!(paths(&answer), [path]);
            }
            let answer = institution.post(&batch(&[set(customer("ada"), pointer, json!("OTHER"))])).await;
            assert_eq!(problems(&answer), [format!("{path}: must be one of {}", values.join(", "))]);
        }
        institution.create(&all.iter().map(|(one, ..)| one.clone()).collect::<Vec<_>>()).await;
        for (one, pointer, value) in &all {
            // Whom the programme does not address has no session, and so no profile.
            if *value != "INACTIVE" {
                let read = profile(&server, one["sourceCustomerId"].as_str().unwrap()).await;
                assert_eq!(read.pointer(pointer), Some(&json!(value)), "{pointer}");
            }
        }
        let none = with(customer("none"), "/alertOptInStatus", json!([]));
        institution.create(&[none]).await;
        assert_eq!(profile(&server, "none").await["alertOptInStatus"], json!([]));
    }

    async fn an_instant_has_one_meaning_in_each_of_its_forms(server: Server) {
        let institution = Institution::of(&server).await;
        let forms = [
            ("2017-01-01T08:00:00Z", "2017-01-01T08:00:00Z"), ("2017-01-01T10:00:00+02:00", "2017-01-01T08:00:00Z"),
            ("2016-12-31T23:30:00-08:30", "2017-01-01T08:00:00Z"), ("2017-01-01T08:00:00.000Z", "2017-01-01T08:00:00Z"),
            ("2017-01-01T08:00Z", "2017-01-01T08:00:00Z"), ("2017-01-01", "2017-01-01T00:00:00Z"),
            ("2016-02-29", "2016-02-29T00:00:00Z"), ("2017-01-01T08:00:00.5Z", "2017-01-01T08:00:00.5Z"),
        ];
        let all: Vec<Value> = forms.iter().enumerate().map(|(at, (form, _))| {
            ["/customerCreationDate", "/enrollmentStartDate", "/accounts/0/accountOpenDate", "/accounts/0/cards/0/openDate"]
                .into_iter().fold(customer(&format!("c{at}")), |one, pointer| with(one, pointer, json!(form)))
        }).collect();
        institution.create(&all).await;
        for (at, (_, meaning)) in forms.into_iter().enumerate() {
            let read = profile(&server, &format!("c{at}")).await;
            let account = &read["accounts"][0];
            for found in [&read["customerCreationDate"], &read["enrollmentStartDate"], &account["accountOpenDate"],
                &account["cards"][0]["openDate"]]
            {
                assert_eq!(found, meaning);
            }
        }
        let places = [
            ("/customerCreationDate", "customers[0].customerCreationDate"),
            ("/enrollmentStartDate", "customers[0].enrollmentStartDate"),
            ("/enrollmentEndDate", "customers[0].enrollmentEndDate"),
            ("/accounts/0/accountOpenDate", "customers[0].accounts[0].accountOpenDate"),
            ("/accounts/0/accountCloseDate", "customers[0].accounts[0].accountCloseDate"),
            ("/accounts/0/cards/0/openDate", "customers[0].accounts[0].cards[0].openDate"),
            ("/accounts/0/cards/0/closeDate", "customers[0].accounts[0].cards[0].closeDate"),
        ];
        for (pointer, path) in places {
            for wrong in [json!(""), json!("2017"), json!("2017-02-29"), json!("2017-01-01T08:00:00"), json!("01/02/2017"),
                json!("2017-01-01T25:00:00Z"), json!(1_483_257_600)]
            {
                let answer = institution.post(&batch(&[with(customer("ada"), pointer, wrong.clone())])).await;
                assert_eq!(paths(&answer), [path], "{wrong}");
            }
        }
    }

    async fn dates_stand_in_order(server: Server) {
        let institution = Institution::of(&server).await;
        let tomorrow = format!("{}T00:00:00Z", day(2));
        let (account, card) = ("customers[0].accounts[0]", "customers[0].accounts[0].cards[0]");
        for (changes, path) in [
            (vec![("/enrollmentEndDate", json!("2023-01-01T07:59:59Z"))], "customers[0].enrollmentEndDate"),
            (vec![("/customerCreationDate", json!(tomorrow))], "customers[0].customerCreationDate"),
            (vec![("/accounts/0/status", json!("CLOSED"))], &format!("{account}.accountCloseDate")),
            (vec![("/accounts/0/accountCloseDate", json!("2024-01-01"))], &format!("{account}.accountCloseDate")),
            (vec![("/accounts/0/status", json!("FRAUD")), ("/accounts/0/accountCloseDate", json!("2024-01-01"))],
                &format!("{account}.accountCloseDate")),
            (vec![("/accounts/0/status", json!("CLOSED")), ("/accounts/0/accountCloseDate", json!("2018-05-12T20:29:59Z"))],
                &format!("{account}.accountCloseDate")),
            (vec![("/accounts/0/cards/0/status", json!("CLOSED"))], &format!("{card}.closeDate")),
            (vec![("/accounts/0/cards/0/closeDate", json!("2024-01-01"))], &format!("{card}.closeDate")),
            (vec![("/accounts/0/cards/0/status", json!("CLOSED")), ("/accounts/0/cards/0/closeDate", json!("2022-12-31"))],
                &format!("{card}.closeDate")),
        ] {
            let one = changes.iter().fold(customer("ada"), |one, (pointer, value)| with(one, pointer, value.clone()));
            assert_eq!(paths(&institution.post(&batch(&[one])).await), [path], "{changes:?}");
        }
        let equal = [
            ("/enrollmentEndDate", json!("2023-01-01T08:00:00Z")), ("/accounts/0/status", json!("CLOSED")),
            ("/accounts/0/accountCloseDate", json!("2018-05-12T20:30:00Z")), ("/accounts/0/cards/0/status", json!("CLOSED")),
            ("/accounts/0/cards/0/closeDate", json!("2023-01-01T08:00:00Z")),
        ];
        let one = equal.iter().fold(customer("ada"), |one, (pointer, value)| with(one, pointer, value.clone()));
        institution.create(&[one]).await;
        let read = profile(&server, "ada").await;
        for (pointer, value) in equal {
            assert_eq!(read.pointer(pointer), Some(&value), "{pointer}");
        }
    }

    async fn accounts_and_cards_name_those_they_belong_to(server: Server) {
        let institution = Institution::of(&server).await;
        let (account, card) = ("customers[0].accounts[0]", "customers[0].accounts[0].cards[0]");
        for (pointer, value, path) in [
            ("/accounts/0/primarySourceCustomerId", json!("bob"), format!("{account}.primarySourceCustomerId")),
            ("/accounts/0/cards/0/sourceAccountId", json!("another"), format!("{card}.sourceAccountId")),
            ("/accounts/0/cards/0/sourceCustomerId", json!("bob"), format!("{card}.sourceCustomerId")),
        ] {
            assert_eq!(paths(&institution.post(&batch(&[with(customer("ada"), pointer, value)])).await), [path]);
        }
        let strangers = with(customer("ada"), "/accounts/0/sourceCustomerIds", json!(["bob"]));
        let told = paths(&institution.post(&batch(&[strangers])).await);
        assert!(told.contains(&format!("{account}.sourceCustomerIds")), "{told:?}");
        let mut twice = customer("ada");
        let again = twice["accounts"][0].clone();
        twice["accounts"].as_array_mut().unwrap().push(again);
        let told = paths(&institution.post(&batch(&[twice])).await);
        assert!(told.contains(&"customers[0].accounts[1].sourceAccountId".to_owned()), "{told:?}");
        let joint = with(customer("ada"), "/accounts/0/sourceCustomerIds", json!(["ada", "nobody-yet"]));
        let joint = with(joint, "/accounts/0/cards/0/sourceCustomerId", json!("nobody-yet"));
        institution.create(&[joint]).await;
        let _ = server.get("/v1/customers/external/nobody-yet").await.expect(404);
        let read = profile(&server, "ada").await;
        assert_eq!(read["accounts"][0]["sourceCustomerIds"], json!(["ada", "nobody-yet"]));
    }

    async fn texts_are_held_to_their_lengths_and_identifiers_to_the_rules_of_an_external_id(server: Server) {
        let institution = Institution::of(&server).await;
        for (pointer, most) in [("/organizationId", 120), ("/postalCode", 20)] {
            let path = format!("customers[0].{}", &pointer[1..]);
            for wrong in [json!(""), json!("é".repeat(most + 1)), json!("a\u{7}b")] {
                assert_eq!(paths(&institution.post(&batch(&[with(customer("ada"), pointer, wrong)])).await), [path.as_str()]);
            }
            let id = format!("of-{most}");
            institution.create(&[with(customer(&id), pointer, json!("é".repeat(most)))]).await;
            assert_eq!(profile(&server, &id).await.pointer(pointer), Some(&json!("é".repeat(most))));
        }
        for wrong in ["UK", "XX", "us", "USA", "U", "", "840", "ZZ", "EU"] {
            let answer = institution.post(&batch(&[with(customer("ada"), "/country", json!(wrong))])).await;
            assert_eq!(problems(&answer), ["customers[0].country: must be an assigned ISO 3166-1 alpha-2 code"], "{wrong}");
        }
        let countries: Vec<Value> = ["GB", "SS", "AX", "TZ"].map(|code| with(customer(code), "/country", json!(code))).to_vec();
        institution.create(&countries).await;
        for pointer in ["/sourceParentCustomerId", "/accounts/0/sourcePortfolioId"] {
            for wrong in ["", " a", "a ", "a\u{0}b", &"x".repeat(129)] {
                let answer = institution.post(&batch(&[with(customer("ada"), pointer, json!(wrong))])).await;
                let member = pointer.rsplit('/').next().unwrap();
                let told = refused_anyhow(&answer);
                assert!(told.iter().any(|problem| problem.contains(member) || problem.starts_with("body")), "{told:?}");
            }
        }
        for id in ["é".repeat(128), "a/b%c 7".to_owned(), "0".to_owned()] {
            institution.create(&[customer_of_short_account(&id)]).await;
            assert_eq!(profile(&server, &id).await["sourceCustomerId"], id);
        }
        for wrong in ["", " ada", "ada\t", &"x".repeat(129)] {
            let answer = institution.post(&batch(&[customer_of_short_account(wrong)])).await;
            assert!(paths(&answer).contains(&"customers[0].sourceCustomerId".to_owned()), "{wrong:?}");
        }
    }
}

/// The problems of a 400, whichever of its two types it has: NUL is no string of JSON here.
#[track_caller]
fn refused_anyhow(answer: &custodia_tests::Answer) -> Vec<String> {
    match answer.json["type"].as_str() {
        Some("HttpMessageNotReadable") => refused(answer, 400, "HttpMessageNotReadable", "Request could not be parsed"),
        _ => problems(answer),
    }
}

/// A customer of any id, whose account's id is short.
fn customer_of_short_account(id: &str) -> Value {
    let account = format!("acc{}", id.chars().next().map_or(0, u32::from));
    with(customer(id), "/accounts", json!([crate::account(&account, id)]))
}
