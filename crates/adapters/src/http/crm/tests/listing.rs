//! The list of customers.

use super::*;

impl Kit {
    async fn names(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("/customers?{query}")).await.ok();
        page["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Bea (web, Acme), Cem (api, Pending) and Ada (from elsewhere, no e-mail, Pending), a second apart.
    async fn three(&self) -> Value {
        let company = self.company("Acme").await;
        self.create(&json!({"name": "Béa Stone", "email": "z@example.com", "company_id": company["company_id"], "whatsapp_number": "+233200000001"})).await;
        self.clock.set(Timestamp::parse("2025-11-27T09:32:09Z").unwrap());
        self.create(&json!({"name": "Cem Stone", "email": "c@example.com", "source": "api", "is_active": false})).await;
        self.clock.set(Timestamp::parse("2025-11-27T09:32:10Z").unwrap());
        self.elsewhere(Some("ada")).await;
        company
    }
}

#[tokio::test]
async fn a_page_has_an_envelope() {
    let kit = Kit::new().await;
    let empty = json!({"data": [], "total": 0, "page": 1, "page_size": 20, "total_pages": 0, "has_next": false, "has_previous": false});
    assert_eq!(kit.get("/customers").await.ok(), empty);
    kit.three().await;
    let mut page = kit.get("/customers?page=2&page_size=1").await.ok();
    assert_eq!(page["data"][0], kit.get("/customers/2").await.ok());
    page.as_object_mut().unwrap().remove("data");
    assert_eq!(
        page,
        json!({"total": 3, "page": 2, "page_size": 1, "total_pages": 3, "has_next": true, "has_previous": true})
    );
    let beyond = kit.get("/customers?page=99999999999999999999").await.ok();
    assert_eq!((&beyond["data"], &beyond["total"], &beyond["has_next"]), (&json!([]), &json!(3), &json!(false)));
    let last = kit.get("/customers?page=3&page_size=1").await.ok();
    assert_eq!((&last["has_next"], &last["has_previous"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn a_list_is_ordered_as_asked_with_nulls_last() {
    let kit = Kit::new().await;
    kit.three().await;
    let (ada, bea, cem) = ("Ada Lovelace", "Béa Stone", "Cem Stone");
    for (query, order) in [
        ("", [ada, cem, bea]),
        ("sort_order=asc", [bea, cem, ada]),
        ("sort_by=name&sort_order=asc", [ada, bea, cem]),
        ("sort_by=name", [cem, bea, ada]),
        ("sort_by=email&sort_order=asc", [cem, bea, ada]),
        ("sort_by=email", [bea, cem, ada]),
        ("sort_by=id&sort_order=asc", [bea, cem, ada]),
        ("sort_by=time_updated", [ada, cem, bea]),
    ] {
        assert_eq!(kit.names(query).await, order, "{query}");
    }
    kit.clock.set(Timestamp::parse("2025-11-27T09:32:11Z").unwrap());
    kit.patch("/customers/1", &json!({"city": "Accra"})).await.ok();
    assert_eq!(kit.names("sort_by=time_updated").await, [bea, ada, cem]);
}

#[tokio::test]
async fn a_list_is_filtered_by_all_that_is_asked() {
    let kit = Kit::new().await;
    let company = kit.three().await;
    let (ada, bea, cem) = ("Ada Lovelace", "Béa Stone", "Cem Stone");
    let id = company["company_id"].as_str().unwrap();
    let by_id = format!("company_id={id}");
    for (query, order) in [
        ("is_active=true", &[bea][..]),
        ("is_active=0", &[ada, cem]),
        ("source=api", &[cem]),
        ("source=zz", &[]),
        (&by_id, &[bea]),
        ("company_id=1", &[bea]),
        ("company_id=2", &[]),
        ("company_id=CMP-00000000", &[]),
        ("company_id=x", &[]),
        ("search=stone", &[cem, bea]),
        ("search=BEA", &[bea]),
        ("search=c@example", &[cem]),
        ("search=%2B233200", &[bea]),
        ("search=233200000001", &[bea]),
        ("search=stone&is_active=false", &[cem]),
        ("search=", &[ada, cem, bea]),
        ("search=nobody", &[]),
    ] {
        assert_eq!(kit.names(query).await, order, "{query}");
        let total = kit.get(&format!("/customers?{query}")).await.ok()["total"].clone();
        assert_eq!(total, order.len(), "{query}");
    }
    let row = kit.get("/customers?company_id=1").await.ok()["data"][0].clone();
    assert_eq!((&row["company_id"], &row["company_name"]), (&json!(1), &json!("Acme")));
    let foreign = kit.ask("GET", "/customers", &[("x-api-key", "foreign-key")], "").await.ok();
    assert_eq!(foreign["total"], 0);
}

#[tokio::test]
async fn a_search_has_its_limits_and_a_parameter_comes_once() {
    let kit = Kit::new().await;
    let long = format!("/customers?search={}", "x".repeat(257));
    assert_eq!(kit.get(&long).await.problems(), ["string_too_long query/search"]);
    let many: Vec<_> = (0..17).map(|n| n.to_string()).collect();
    assert_eq!(
        kit.get(&format!("/customers?search={}", many.join("+"))).await.problems(),
        ["value_error query/search"]
    );
    assert_eq!(kit.get("/customers?page=1&page=1").await.problems(), ["value_error query/page"]);
    assert_eq!(kit.get("/customers?source=%FF").await.problems(), ["value_error query/source"]);
}
