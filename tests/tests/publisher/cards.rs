//! Cards: their digits, networks and numbers that nobody may send, and how many of them and of accounts there may be.

use custodia_tests::both;
use serde_json::{Value, json};

use crate::{
    ACCOUNTS, CUSTOMERS, Institution, account, account_of, batch, card, customer, paths, problems, profile, with,
};

const CARD: &str = "/accounts/0/cards/0";
/// A number that passes the Luhn check.
const NUMBER: &str = "4111111111111111";

both! {
    async fn digits_and_networks_are_read_as_written(server: Server) {
        let institution = Institution::of(&server).await;
        for (member, wrongs, told) in [
            ("last4", vec![json!(""), json!("123"), json!("12345"), json!("12a4"), json!("١٢٣٤"), json!(" 123")], "must be 4 digits"),
            ("iin", vec![json!(""), json!("12345"), json!("1234567"), json!("123456789"), json!("12345x")], "must be 6 or 8 digits"),
            ("networkIdentifier", vec![json!(2), json!(7), json!(-3), json!("2"), json!("x"), json!("")], "must be 3, 4, 5 or 6"),
        ] {
            for wrong in wrongs {
                let answer = institution.post(&batch(&[with(customer("ada"), &format!("{CARD}/{member}"), wrong.clone())])).await;
                assert_eq!(problems(&answer), [format!("customers[0].accounts[0].cards[0].{member}: {told}")], "{wrong}");
            }
        }
        for (member, wrong) in [("last4", json!(1234)), ("iin", json!(123_456)), ("networkIdentifier", json!(3.5))] {
            let answer = institution.post(&batch(&[with(customer("ada"), &format!("{CARD}/{member}"), wrong)])).await;
            assert_eq!(paths(&answer), [format!("customers[0].accounts[0].cards[0].{member}")]);
        }
        let networks = [json!(3), json!(4), json!(5), json!(6), json!("3"), json!("4"), json!("5"), json!("6")];
        let cards: Vec<Value> = networks.iter().enumerate().map(|(at, network)| {
            let one = card("ada-account", "ada", &format!("{at:04}"));
            let one = with(one, "/iin", json!(["123456", "12345678"][at % 2]));
            with(one, "/networkIdentifier", network.clone())
        }).collect();
        institution.create(&[with(customer("ada"), "/accounts/0/cards", json!(cards))]).await;
        let read = profile(&server, "ada").await;
        for (at, found) in read["accounts"][0]["cards"].as_array().unwrap().iter().enumerate() {
            assert_eq!(found["last4"], format!("{at:04}"));
            assert_eq!(found["networkIdentifier"], 3 + at % 4, "an integer, however it was sent");
            assert_eq!(found["iin"], ["123456", "12345678"][at % 2]);
        }
    }

    async fn a_whole_card_number_is_refused_wherever_it_stands_and_never_repeated(server: Server) {
        let institution = Institution::of(&server).await;
        let card = "customers[0].accounts[0].cards[0]";
        for (pointer, path) in [
            ("/organizationId", "customers[0].organizationId".to_owned()),
            ("/postalCode", "customers[0].postalCode".to_owned()),
            ("/accounts/0/cards/0/last4", format!("{card}.last4")), ("/accounts/0/cards/0/iin", format!("{card}.iin")),
            ("/accounts/0/cards/0/cardType", format!("{card}.cardType")), ("/accounts/0/cards/0/status", format!("{card}.status")),
            ("/accounts/0/cards/0/networkIdentifier", format!("{card}.networkIdentifier")),
            ("/accounts/0/cards/0/openDate", format!("{card}.openDate")),
            ("/accounts/0/cards/0/closeDate", format!("{card}.closeDate")),
        ] {
            for number in [NUMBER, "378282246310005", "6011000990139424"] {
                let answer = institution.post(&batch(&[with(customer("ada"), pointer, json!(number))])).await;
                assert!(paths(&answer).contains(&path), "{pointer}: {}", answer.text);
                assert!(!answer.text.contains(number), "{}", answer.text);
            }
        }
        let named = with(customer("ada"), &format!("{CARD}/{NUMBER}"), json!(1));
        assert!(!institution.post(&batch(&[named])).await.expect(400).text.contains(NUMBER));
        assert!(!server.written().contains(NUMBER));
        assert_eq!(server.total().await, 0);
        // Digits that are no card number are what they are: too short, too long, or failing the check.
        for (at, postal) in ["41111111111", "4111111111111112", "41111111111111111111"].into_iter().enumerate() {
            institution.create(&[with(customer(&format!("p{at}")), "/postalCode", json!(postal))]).await;
        }
    }

    async fn an_identifier_is_a_card_number_only_of_the_very_card(server: Server) {
        let institution = Institution::of(&server).await;
        // In its own batch the number begins with the card's issuer and ends with its last digits.
        let own = |pointer: &str, one: Value| {
            let one = with(one, &format!("{CARD}/iin"), json!("411111"));
            let one = with(one, &format!("{CARD}/last4"), json!("1111"));
            with(one, pointer, json!(NUMBER))
        };
        let refused = own("/sourceParentCustomerId", customer("ada"));
        assert_eq!(paths(&institution.post(&batch(&[refused])).await), ["customers[0].sourceParentCustomerId"]);
        let refused = own("/accounts/0/sourcePortfolioId", customer("ada"));
        assert_eq!(paths(&institution.post(&batch(&[refused])).await), ["customers[0].accounts[0].sourcePortfolioId"]);
        let of_number = customer(NUMBER);
        let answer = institution.post(&batch(&[own("/sourceCustomerId", of_number.clone())])).await;
        assert!(paths(&answer).contains(&"customers[0].sourceCustomerId".to_owned()), "{}", answer.text);
        assert!(!answer.text.contains(NUMBER));
        institution.create(&[of_number]).await;
        let seen = server.get(&format!("/v1/customers/external/{NUMBER}")).await.expect(200).json;
        assert_eq!(seen["externalId"], NUMBER, "as an identifier of other cards it is only digits");
    }

    async fn an_identifier_is_no_number_of_a_card_that_is_stored(server: Server) {
        let institution = Institution::of(&server).await;
        let of_number = |one: Value| {
            let one = with(one, &format!("{CARD}/iin"), json!("411111"));
            with(one, &format!("{CARD}/last4"), json!("1111"))
        };
        institution.create(&[of_number(customer("ada"))]).await;
        let joint = |id: &str| json!({"sourceAccountId": "ada-account", "sourceCustomerIds": ["ada", id]});
        let ada = || with(customer("ada"), "/accounts", json!([]));
        let put = async |path: &str, body: Value| {
            let answer = institution.put(path, &body).await;
            assert!(!answer.text.contains(NUMBER), "{}", answer.text);
            problems(&answer)
        };
        for path in [ACCOUNTS, "/v2/data/customers/ada/accounts"] {
            let portfolio = json!({"sourceAccountId": "ada-account", "sourcePortfolioId": NUMBER});
            let told = put(path, json!({"accounts": [portfolio]})).await;
            assert_eq!(told, ["accounts[0].sourcePortfolioId: must not be a whole card number"]);
            let told = put(path, json!({"accounts": [joint(NUMBER)]})).await;
            assert_eq!(told, ["accounts[0].sourceCustomerIds: must not be a whole card number"]);
        }
        let told = put(CUSTOMERS, batch(&[with(ada(), "/sourceParentCustomerId", json!(NUMBER))])).await;
        assert_eq!(told, ["customers[0].sourceParentCustomerId: must not be a whole card number"]);
        assert!(!profile(&server, "ada").await.to_string().contains(NUMBER));

        // The other way round: the identifier is there, and the card comes.
        let named = with(customer("bob"), "/sourceParentCustomerId", json!(NUMBER));
        institution.create(&[with(named, "/accounts/0/sourcePortfolioId", json!("378282246310005"))]).await;
        let path = "/v2/data/customers/bob/accounts/bob-account/cards";
        let new = |iin: &str, last4: &str| with(card("bob-account", "bob", last4), "/iin", json!(iin));
        let told = put(path, json!({"cards": [new("378282", "0005"), new("411111", "1111")]})).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.contains(&"cards[0]: sourcePortfolioId must not be this card's whole number".to_owned()), "{told:?}");
        assert!(told.contains(&"cards[1]: sourceParentCustomerId must not be this card's whole number".to_owned()), "{told:?}");
        let nested = json!({"sourceAccountId": "bob-account", "cards": [new("411111", "1111")]});
        let told_of_parent = ["accounts[0].cards[0]: sourceParentCustomerId must not be this card's whole number"];
        for path in [ACCOUNTS, "/v2/data/customers/bob/accounts"] {
            assert_eq!(put(path, json!({"accounts": [nested]})).await, told_of_parent, "{path}");
        }
        // Whoever of its holders sends it, and whether or not the account is there already.
        let shared = json!({"sourceCustomerIds": ["ada", "bob"], "primarySourceCustomerId": "ada", "cards": [new("411111", "1111")]});
        let mut joint = with(account("joint", "ada"), "/cards", json!([]));
        joint.as_object_mut().unwrap().extend(shared.as_object().unwrap().clone());
        joint["cards"][0]["sourceAccountId"] = json!("joint");
        for path in [ACCOUNTS, "/v2/data/customers/ada/accounts"] {
            assert_eq!(put(path, json!({"accounts": [joint]})).await, told_of_parent, "{path}");
        }
        let _ = institution.put(path, &json!({"cards": [new("411112", "1111"), new("378282", "0006")]})).await.expect(200);
    }

    async fn an_account_has_at_most_200_cards_and_a_customer_200_accounts(server: Server) {
        let institution = Institution::of(&server).await;
        let bare = |number: usize, holder: &str| {
            with(account(&format!("{holder}-{number}"), holder), "/cards", json!([]))
        };
        let accounts = |count: usize| (0..count).map(|number| bare(number, "many")).collect::<Vec<_>>();
        let many = |count: usize| with(customer("many"), "/accounts", json!(accounts(count)));
        assert_eq!(paths(&institution.post(&batch(&[many(201)])).await), ["customers[0].accounts"]);
        institution.create(&[many(200)]).await;
        let put = json!({"accounts": [bare(200, "many")]});
        for path in [ACCOUNTS, "/v2/data/customers/many/accounts"] {
            let told = problems(&institution.put(path, &put).await);
            assert_eq!(told, ["accounts[0].sourceCustomerIds: a customer has at most 200 accounts"]);
        }
        let _ = institution.put(ACCOUNTS, &json!({"accounts": [bare(7, "many")]})).await.expect(200);
        assert_eq!(profile(&server, "many").await["accounts"].as_array().unwrap().len(), 200);

        let cards = |from: usize, to: usize| {
            (from..to).map(|at| card("ada-account", "ada", &format!("{at:04}"))).collect::<Vec<_>>()
        };
        let of = |count: usize| with(customer("ada"), "/accounts/0/cards", json!(cards(0, count)));
        assert_eq!(paths(&institution.post(&batch(&[of(201)])).await), ["customers[0].accounts[0].cards"]);
        institution.create(&[of(200)]).await;
        let path = "/v2/data/customers/ada/accounts/ada-account/cards";
        let told = paths(&institution.put(path, &json!({"cards": cards(200, 201)})).await);
        assert_eq!(told.len(), 1, "{told:?}");
        let _ = institution.put(path, &json!({"cards": cards(150, 200)})).await.expect(200);
        assert_eq!(account_of(&profile(&server, "ada").await, "ada-account")["cards"].as_array().unwrap().len(), 200);
    }
}
