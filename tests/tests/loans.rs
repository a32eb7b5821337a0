//! Loan positions, scorecards and credit scores as a client sees them, and the one rule that they are kept for: no open loan
//! on a closed customer, however the two requests meet.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use custodia_tests::{Answer, Server, both, encoded};
use reqwest::Method;
use serde_json::{Value, json};

/// The loan's labels that keep a customer from being closed.
const OPEN: [&str; 4] = ["Submitted and pending approval", "Approved", "Active", "Overpaid"];
/// Those that do not.
const ENDED: [&str; 4] = ["Withdrawn by applicant", "Rejected", "Closed (obligations met)", "Closed (written off)"];

async fn partner(server: &Server, external_id: &str) -> Value {
    server.post("/v1/customers", json!({"externalId": external_id})).await.expect(200).json
}

fn path(loan: &str) -> String {
    format!("/v1/loans/external/{}", encoded(loan))
}

fn position(customer: &str, status: &str) -> Value {
    json!({"customerExternalId": customer, "status": status, "principal": 1500, "currencyCode": "TZS"})
}

async fn report(server: &Server, loan: &str, customer: &str, status: &str) -> Answer {
    server.put(&path(loan), position(customer, status)).await
}

async fn close(server: &Server, customer: &str) -> Answer {
    let terms = json!({"closureDate": "2099-01-01", "closureReasonId": 1});
    server.post(&format!("/v1/customers/external/{customer}/close"), terms).await
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

/// The external ids of a page's loans.
async fn listed(server: &Server, query: &str) -> Vec<String> {
    let page = server.get(&format!("/v1/loans?{query}")).await.expect(200).json;
    page["items"].as_array().unwrap().iter().map(|loan| loan["externalId"].as_str().unwrap().to_owned()).collect()
}

both! {
    async fn a_reported_loan_shows_every_member(server: Server) {
        let customer = partner(&server, "ada").await;
        let body = json!({
            "customerExternalId": "ada", "accountNo": "LN-7", "loanProductId": 3, "loanProductName": "Micro",
            "status": "Active", "principal": 1500, "approvedPrincipal": "1400.50", "currencyCode": "TZS",
            "termFrequency": 12, "numberOfRepayments": 12, "interestRatePerPeriod": 2.5, "principalDisbursed": 1400.5,
            "principalPaid": 200.25, "principalOutstanding": 1200.25, "interestCharged": 35, "totalOutstanding": 1235.25,
            "totalPaid": 200.25, "nextDueDate": "2099-01-31", "nextDueAmount": 120.1,
            "expectedDisbursementDate": "2026-02-01",
        });
        let reported = server.put(&path("loan-1"), body.clone()).await.expect(200);
        let id = reported.json["id"].as_str().expect("an id is a string").to_owned();
        let mut expected = body;
        let members = expected.as_object_mut().unwrap();
        members.remove("customerExternalId");
        for (member, value) in [
            ("id", json!(id)), ("externalId", json!("loan-1")), ("customerId", customer["id"].clone()),
            ("customerName", json!("ada Customer")), ("loanProductId", json!("3")), ("approvedPrincipal", json!(1400.5)),
        ] {
            members.insert(member.to_owned(), value);
        }
        assert_eq!(reported.json, expected);
        assert_eq!(reported.header("etag"), Some("\"1\""));
        assert_eq!(server.get(&path("loan-1")).await.expect(200).text, reported.text);
        assert_eq!(server.get(&format!("/v1/loans/{id}")).await.expect(200).text, reported.text);
        let page = server.get("/v1/loans").await.expect(200).json;
        assert_eq!(page, json!({"items": [expected], "total": 1, "page": 1, "rowsPerPage": 10}));
    }

    async fn a_report_replaces_the_position_whole_and_is_idempotent(server: Server) {
        let id = partner(&server, "ada").await["id"].clone();
        let rich = with(position("ada", "Approved"), "totalOutstanding", json!(10));
        let first = server.put(&path("loan-1"), rich.clone()).await.expect(200);
        let again = server.put(&path("loan-1"), rich).await.expect(200);
        assert_eq!((again.text, again.headers["etag"].clone()), (first.text, first.headers["etag"].clone()));
        // The customer may be named by either of its ids.
        let bare = json!({"customerId": id, "status": "active", "principal": "1500", "currencyCode": "TZS"});
        let replaced = server.put(&path("loan-1"), bare).await.expect(200);
        assert_eq!(replaced.json["status"], "Active", "labels are read in any case and shown in their own");
        assert!(replaced.json.get("totalOutstanding").is_none(), "{}", replaced.text);
        assert_eq!(replaced.header("etag"), Some("\"2\""));
        assert_eq!(replaced.json["id"], first.json["id"]);
    }

    async fn loan_ids_of_every_kind_go_through_the_path(server: Server) {
        partner(&server, "ada").await;
        for loan in ["x", "a/b", "100%", "a b", "é😀", "?&#", &"名".repeat(128)] {
            let reported = report(&server, loan, "ada", "Active").await.expect(200);
            assert_eq!(reported.json["externalId"], loan);
            assert_eq!(server.get(&path(loan)).await.expect(200).text, reported.text);
        }
        for wrong in ["x".repeat(129), " x".into(), "a\nb".into()] {
            let told = report(&server, &wrong, "ada", "Active").await.expect(400).problems();
            assert!(told.len() == 1 && told[0].starts_with("loan_external_id: "), "{told:?}");
        }
    }

    async fn a_bad_report_is_refused_with_every_problem_and_writes_nothing(server: Server) {
        partner(&server, "ada").await;
        assert_eq!(server.put(&path("loan-1"), json!({})).await.expect(400).problems(), [
            "customerId: required, or customerExternalId", "status: required", "principal: required",
            "currencyCode: required",
        ]);
        let good = position("ada", "Active");
        for (member, value) in [
            ("customerId", json!(1)), ("customerExternalId", json!("")), ("status", json!("Sleeping")), ("status", json!(1)),
            ("principal", json!(-1)), ("principal", json!("many")), ("principal", json!(1e30)),
            ("principal", json!("1.1234567")), ("currencyCode", json!("tzs")), ("currencyCode", json!("TZSX")),
            ("termFrequency", json!(-1)), ("numberOfRepayments", json!(1.5)), ("nextDueDate", json!("2026-02-30")),
            ("expectedDisbursementDate", json!("soon")), ("loanProductId", json!(0)), ("loanProductName", json!("")),
            ("customerName", json!("Ada")), ("id", json!("7")), ("colour", json!("red")),
        ] {
            let told = server.put(&path("loan-1"), with(good.clone(), member, value.clone())).await.expect(400).problems();
            let field = if member == "customerId" { "customerExternalId" } else { member };
            assert!(told.len() == 1 && told[0].starts_with(&format!("{field}: ")), "{member} {value}: {told:?}");
        }
        assert_eq!(server.get(&path("loan-1")).await.code(404), "not_found");
        assert_eq!(server.get("/v1/loans").await.expect(200).json["total"], 0);
        let nobody = report(&server, "loan-1", "nobody", "Active").await;
        assert_eq!(nobody.code(404), "not_found");
        let by_id = json!({"customerId": 99, "status": "Active", "principal": 1, "currencyCode": "TZS"});
        assert_eq!(server.put(&path("loan-1"), by_id).await.code(404), "not_found");
    }

    async fn a_loan_that_nobody_has_is_not_found(server: Server) {
        assert_eq!(server.get("/v1/loans/1").await.code(404), "not_found");
        assert_eq!(server.get("/v1/loans/99999999999999999999").await.code(404), "not_found");
        assert_eq!(server.get(&path("nobody")).await.code(404), "not_found");
        for wrong in ["0", "-1", "x"] {
            let told = server.get(&format!("/v1/loans/{wrong}")).await.expect(400).problems();
            assert_eq!(told, ["loan_id: must be a positive integer"]);
        }
        partner(&server, "ada").await;
        let _ = report(&server, "loan-1", "ada", "Active").await.expect(200);
        let other = server.organization("Another Lender");
        for path in ["/v1/loans/1", "/v1/loans/external/loan-1"] {
            let asked = Answer::to(server.request(Method::GET, path).bearer_auth(&other.token)).await.unwrap();
            assert_eq!(asked.code(404), "not_found");
        }
        let theirs = Answer::to(server.request(Method::GET, "/v1/loans").bearer_auth(&other.token)).await.unwrap();
        assert_eq!(theirs.expect(200).json["total"], 0);
    }

    async fn a_list_of_loans_is_filtered_ordered_and_paged(server: Server) {
        let ada = partner(&server, "ada").await["id"].as_str().unwrap().to_owned();
        partner(&server, "bo/b").await;
        for (loan, customer, status, principal, disbursed) in [
            ("l-1", "ada", "Active", 300, Some("2026-03-01")),
            ("l-2", "ada", "Rejected", 100, None),
            ("l-3", "bo/b", "Active", 200, Some("2026-02-01")),
            ("l-4", "bo/b", "Closed (written off)", 200, Some("2026-02-01")),
        ] {
            let body = json!({"customerExternalId": customer, "status": status, "principal": principal,
                "currencyCode": "TZS", "expectedDisbursementDate": disbursed});
            let _ = server.put(&path(loan), body).await.expect(200);
        }
        for (query, expected) in [
            ("", ["l-1", "l-2", "l-3", "l-4"].as_slice()),
            ("sortOrder=DESC", &["l-4", "l-3", "l-2", "l-1"]),
            ("orderBy=principal", &["l-2", "l-3", "l-4", "l-1"]),
            ("orderBy=principal&sortOrder=DESC", &["l-1", "l-4", "l-3", "l-2"]),
            ("orderBy=expectedDisbursementDate", &["l-3", "l-4", "l-1", "l-2"]),
            ("customerExternalId=ada", &["l-1", "l-2"]),
            ("customerExternalId=bo%2Fb&status=active", &["l-3"]),
            ("status=CLOSED%20(written%20off)", &["l-4"]),
            ("status=Overpaid", &[]),
            ("customerExternalId=nobody", &[]),
            ("customerId=4711", &[]),
            ("rows=2&page=2", &["l-3", "l-4"]),
            ("page=9", &[]),
            (&format!("customerId={ada}&sortOrder=DESC"), &["l-2", "l-1"]),
        ] {
            assert_eq!(listed(&server, query).await, expected, "{query}");
        }
        let page = server.get("/v1/loans?rows=1&page=2&customerExternalId=ada").await.expect(200).json;
        assert_eq!((&page["total"], &page["page"], &page["rowsPerPage"]), (&json!(2), &json!(2), &json!(1)));
        for (query, field) in [
            ("customerId=1&customerExternalId=ada", "customerExternalId"), ("customerId=x", "customerId"),
            ("customerExternalId=", "customerExternalId"), ("status=Sleeping", "status"), ("status=", "status"),
            ("orderBy=status", "orderBy"), ("sortOrder=up", "sortOrder"), ("rows=101", "page"), ("rows=0", "page"),
            ("page=0", "page"), ("page=x", "page"), ("q=ada", "q"),
        ] {
            let told = server.get(&format!("/v1/loans?{query}")).await.expect(400).problems();
            assert!(told.len() == 1 && told[0].starts_with(&format!("{field}: ")), "{query}: {told:?}");
        }
    }

    async fn an_open_loan_keeps_its_customer_from_being_closed(server: Server) {
        for (number, status) in OPEN.iter().enumerate() {
            let customer = format!("open-{number}");
            partner(&server, &customer).await;
            let _ = report(&server, &format!("loan-{number}"), &customer, status).await.expect(200);
            assert_eq!(close(&server, &customer).await.code(409), "aborted", "{status}");
            let _ = report(&server, &format!("loan-{number}"), &customer, ENDED[number]).await.expect(200);
            assert_eq!(close(&server, &customer).await.expect(200).json["status"], "Closed", "{}", ENDED[number]);
        }
        // Every loan counts, not the last alone.
        partner(&server, "two").await;
        let _ = report(&server, "two-1", "two", "Active").await.expect(200);
        let _ = report(&server, "two-2", "two", "Rejected").await.expect(200);
        assert_eq!(close(&server, "two").await.code(409), "aborted");
    }

    async fn a_new_open_loan_needs_an_active_customer(server: Server) {
        let pending = json!({"officeId": 1, "fullname": "Ada", "active": false, "externalId": "pending"});
        let _ = server.post("/v1/customers", pending).await.expect(200);
        partner(&server, "closed").await;
        let _ = report(&server, "known", "closed", "Closed (obligations met)").await.expect(200);
        let _ = report(&server, "ended", "pending", "Rejected").await.expect(200);
        let _ = close(&server, "closed").await.expect(200);
        for (number, status) in OPEN.iter().enumerate() {
            for customer in ["pending", "closed"] {
                let refused = report(&server, &format!("new-{number}"), customer, status).await;
                assert_eq!(refused.code(400), "failed_precondition", "{customer} {status}");
                let told = r#"[{"field":"status","error":"an open loan needs an Active customer"}]"#;
                assert_eq!(refused.json["message"], told, "{customer} {status}");
            }
            for (loan, customer) in [("known", "closed"), ("ended", "pending")] {
                let reopened = report(&server, loan, customer, status).await;
                assert_eq!(reopened.code(409), "aborted", "{customer} {status}");
                let told = "a loan that has ended is reopened only for an Active customer";
                assert_eq!(reopened.json["message"], told, "{customer} {status}");
            }
        }
        let updated = with(position("closed", "Closed (written off)"), "totalPaid", json!(7));
        assert_eq!(server.put(&path("known"), updated).await.expect(200).json["totalPaid"], 7);
        assert_eq!(server.get("/v1/loans").await.expect(200).json["total"], 2);
    }

    async fn a_loan_never_moves_to_another_customer(server: Server) {
        partner(&server, "ada").await;
        partner(&server, "bob").await;
        let first = report(&server, "loan-1", "ada", "Active").await.expect(200);
        assert_eq!(report(&server, "loan-1", "bob", "Active").await.code(409), "aborted");
        assert_eq!(report(&server, "loan-1", "bob", "Rejected").await.code(409), "aborted");
        assert_eq!(server.get(&path("loan-1")).await.expect(200).text, first.text);
        assert!(close(&server, "bob").await.status == 200, "the other customer has no loan");
    }

    async fn a_customer_with_loans_is_not_deleted(server: Server) {
        let pending = json!({"officeId": 1, "fullname": "Ada", "active": false, "externalId": "ada"});
        let _ = server.post("/v1/customers", pending).await.expect(200);
        let _ = report(&server, "loan-1", "ada", "Rejected").await.expect(200);
        assert_eq!(server.delete("/v1/customers/external/ada").await.code(409), "aborted");
        let _ = server.get("/v1/customers/external/ada").await.expect(200);
        let _ = server.get(&path("loan-1")).await.expect(200);
    }

    async fn a_scorecard_sums_over_all_loans_and_knows_what_was_reported(server: Server) {
        let unknown = server.get("/v1/credit-scorecard/nobody").await.expect(200).json;
        let period = unknown["executionPeriod"].clone();
        assert_eq!(unknown, json!({
            "externalId": "nobody", "halopesaGrade": "XX", "finalCreditScore": 100, "finalCreditLimit": 0,
            "totalOutstanding": 0, "totalPaid": 0, "availableCreditLimit": 0, "executionPeriod": period,
        }));
        partner(&server, "ada").await;
        let scored = json!({"grade": "A", "score": 720, "limit": 250_000.5});
        let card = server.put("/v1/credit-scores/ada", scored).await.expect(200);
        assert_eq!(card.json, json!({
            "externalId": "ada", "halopesaGrade": "A", "finalCreditScore": 720, "finalCreditLimit": 250_000.5,
            "totalOutstanding": 0, "totalPaid": 0, "availableCreditLimit": 250_000.5, "executionPeriod": period,
        }));
        assert_eq!(server.get("/v1/credit-scorecard/ada").await.expect(200).text, card.text);
        for (loan, status, outstanding, paid) in [("l-1", "Active", "100.10", "0.2"), ("l-2", "Closed (written off)", "0.20", "7")] {
            let body = with(position("ada", status), "totalOutstanding", json!(outstanding));
            let _ = server.put(&path(loan), with(body, "totalPaid", json!(paid))).await.expect(200);
        }
        let owing = server.get("/v1/credit-scorecard/ada").await.expect(200);
        assert!(owing.text.contains("\"totalOutstanding\":100.3,\"totalPaid\":7.2,"), "sums are exact: {}", owing.text);
        assert_eq!((&owing.json["availableCreditLimit"], &owing.json["finalCreditLimit"]), (&json!(0), &json!(250_000.5)));
    }

    async fn a_score_is_within_its_bounds(server: Server) {
        assert_eq!(server.put("/v1/credit-scores/ada", json!({})).await.expect(400).problems(), [
            "grade: required", "score: required", "limit: required",
        ]);
        let good = json!({"grade": "B", "score": 0, "limit": 0});
        for (member, value) in [
            ("grade", json!("D")), ("grade", json!("a")), ("score", json!(-1)), ("score", json!(1001)), ("score", json!(1.5)),
            ("limit", json!(-0.01)), ("limit", json!("none")), ("colour", json!("red")),
        ] {
            let told = server.put("/v1/credit-scores/ada", with(good.clone(), member, value.clone())).await.expect(400);
            let told = told.problems();
            assert!(told.len() == 1 && told[0].starts_with(&format!("{member}: ")), "{member} {value}: {told:?}");
        }
        for body in [good, json!({"grade": "XX", "score": "1000", "limit": "12.5"})] {
            let card = server.put("/v1/credit-scores/a%2Fb", body.clone()).await.expect(200).json;
            assert_eq!((&card["externalId"], &card["halopesaGrade"]), (&json!("a/b"), &body["grade"]));
        }
        assert_eq!(server.get("/v1/credit-scorecard/ada").await.expect(200).json["halopesaGrade"], "XX");
        let told = server.get("/v1/credit-scorecard/%20").await.expect(400).problems();
        assert!(told.len() == 1 && told[0].starts_with("externalId: "), "{told:?}");
    }

    async fn an_open_loan_and_a_closing_never_both_succeed(server: Server) {
        for round in 0..40 {
            let customer = format!("racer-{round}");
            partner(&server, &customer).await;
            let loans: Vec<String> = (0..2).map(|number| format!("{customer}-{number}")).collect();
            // Which of them is sent first changes from round to round.
            let (first, second, closed) = if round % 2 == 0 {
                let (closed, first, second) = tokio::join!(
                    close(&server, &customer),
                    report(&server, &loans[0], &customer, OPEN[round % 4]),
                    report(&server, &loans[1], &customer, OPEN[(round + 1) % 4]),
                );
                (first, second, closed)
            } else {
                tokio::join!(
                    report(&server, &loans[0], &customer, OPEN[round % 4]),
                    report(&server, &loans[1], &customer, OPEN[(round + 1) % 4]),
                    close(&server, &customer),
                )
            };
            let now = server.get(&format!("/v1/customers/external/{customer}")).await.expect(200).json;
            let held = server.get(&format!("/v1/loans?customerExternalId={customer}")).await.expect(200).json;
            let opened = [&first, &second].iter().filter(|answer| answer.status == 200).count();
            assert_eq!(held["total"], opened, "round {round}: what was acknowledged is there, and nothing else");
            match closed.status {
                200 => assert!(now["status"] == "Closed" && opened == 0, "round {round}: an open loan on a closed customer"),
                409 => assert!(now["status"] == "Active" && opened > 0, "round {round}: refused without a loan"),
                status => panic!("round {round}: {status} {}", closed.text),
            }
            for answer in [&first, &second] {
                assert!([200, 400, 409].contains(&answer.status), "round {round}: {} {}", answer.status, answer.text);
            }
        }
    }

    async fn many_reports_of_one_loan_at_once_make_one_loan(server: Server) {
        partner(&server, "ada").await;
        let calls: Vec<_> = (0..16)
            .map(|number| {
                let body = with(position("ada", "Active"), "totalPaid", json!(number));
                let request = server.request(Method::PUT, &path("loan-1")).bearer_auth(server.token());
                tokio::spawn(Answer::to(request.json(&body)))
            })
            .collect();
        let mut versions = Vec::new();
        for call in calls {
            let answer = call.await.unwrap().unwrap().expect(200);
            versions.push(answer.header("etag").unwrap().trim_matches('"').parse::<u64>().unwrap());
        }
        versions.sort_unstable();
        assert_eq!(versions, (1..17).collect::<Vec<_>>(), "a report was lost or made twice");
        assert_eq!(server.get("/v1/loans").await.expect(200).json["total"], 1);
    }
}
