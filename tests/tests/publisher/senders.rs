//! Many senders at once: overlapping batches, and accounts that move to and fro.

use std::collections::BTreeSet;
use std::sync::Arc;

use custodia_tests::both;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CUSTOMERS, Institution, account, batch, card, customer, profile, start, with};

both! {
    async fn senders_of_overlapping_batches_lose_nothing(server: Server) {
        const SENDERS: usize = 64;
        const PEOPLE: usize = 60;
        let server = Arc::new(server);
        let session = server.publisher_session().await;
        // Each customer shares an account with the next, and each batch begins elsewhere and goes another way round.
        let name = |at: usize| format!("p{:02}", at % PEOPLE);
        let person = move |at: usize| {
            let (own, next) = (name(at), name(at + 1));
            let joint = |first: usize| {
                let id = format!("joint-{}", name(first));
                let holders = json!([name(first), name(first + 1)]);
                let joint = with(account(&id, &name(first)), "/sourceCustomerIds", holders);
                with(joint, "/cards", json!([card(&id, &name(first), "1111"), card(&id, &name(first + 1), "2222")]))
            };
            let accounts = json!([account(&format!("own-{own}"), &own), joint(at), joint(at + PEOPLE - 1)]);
            assert_ne!(own, next);
            with(customer(&own), "/accounts", accounts)
        };
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (server, session) = (Arc::clone(&server), session.clone());
                let mut people: Vec<Value> = (0..50).map(|step| person(sender * 7 + step)).collect();
                if sender % 2 == 1 {
                    people.reverse();
                }
                tokio::spawn(async move {
                    let method = if sender % 8 == 7 { Method::PUT } else { Method::POST };
                    let institution = Institution { server: &server, session };
                    let answer = institution.send(method.clone(), CUSTOMERS, &batch(&people).to_string()).await;
                    (method, people, answer)
                })
            })
            .collect();
        let mut accepted = BTreeSet::new();
        for sender in senders {
            let (method, people, answer) = sender.await.unwrap();
            let ids = people.iter().map(|person| person["sourceCustomerId"].as_str().unwrap().to_owned());
            match answer.status {
                200 => accepted.extend(ids),
                // It may have come before those whom it replaces.
                404 if method == Method::PUT => {}
                status => panic!("{status}: {}", answer.text),
            }
        }
        assert_eq!(accepted.len(), PEOPLE);
        assert_eq!(server.get("/v1/customers?rows=1").await.expect(200).json["total"], PEOPLE);
        for (at, id) in accepted.iter().enumerate() {
            let seen = server.get(&format!("/v1/customers/external/{id}")).await.expect(200).json;
            assert_eq!((&seen["status"], &seen["version"]), (&json!("Active"), &json!(1)), "{id}");
            let read = profile(&server, id).await;
            let accounts: Vec<&str> =
                read["accounts"].as_array().unwrap().iter().map(|it| it["sourceAccountId"].as_str().unwrap()).collect();
            let expected = [format!("own-{id}"), format!("joint-{id}"), format!("joint-{}", name(at + PEOPLE - 1))];
            assert_eq!(accounts.len(), 3, "{id}: {accounts:?}");
            assert!(expected.iter().all(|one| accounts.contains(&one.as_str())), "{id}: {accounts:?}");
            let cards = |it: &Value| it["cards"].as_array().unwrap().len();
            assert_eq!(read["accounts"].as_array().unwrap().iter().map(cards).sum::<usize>(), 5, "{id}");
        }
    }

    async fn customers_that_move_accounts_to_and_fro_at_once_keep_one_holder(server: Server) {
        let server = Arc::new(server);
        let session = server.publisher_session().await;
        let institution = Institution { server: &server, session: session.clone() };
        let people: Vec<Value> = ["a", "b"].map(|id| with(customer(id), "/accounts/0/cards", json!([]))).to_vec();
        let _ = institution.post(&batch(&people)).await.expect(200);
        let movers: Vec<_> = (0..32)
            .map(|mover| {
                let (server, session) = (Arc::clone(&server), session.clone());
                tokio::spawn(async move {
                    let holder = ["a", "b"][mover % 2];
                    let moved = |id: &str| {
                        json!({"sourceAccountId": id, "sourceCustomerIds": [holder], "primarySourceCustomerId": holder})
                    };
                    let mut all = vec![moved("a-account"), moved("b-account")];
                    if mover % 4 > 1 {
                        all.reverse();
                    }
                    let institution = Institution { server: &server, session };
                    institution.put("/v2/data/accounts", &json!({"accounts": all})).await
                })
            })
            .collect();
        for mover in movers {
            let answer = mover.await.unwrap();
            assert!(answer.status == 200 || answer.status == 409, "{}", answer.text);
        }
        let mut held = Vec::new();
        for id in ["a", "b"] {
            let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": id});
            if start(&server, &wanted).await.status == 200 {
                held.push(profile(&server, id).await["accounts"].as_array().unwrap().len());
            }
        }
        assert_eq!(held, [2], "both accounts were always moved together");
    }
}
