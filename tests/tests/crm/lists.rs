//! The list of customers: pages, filters, search, order, and what it says of parameters that are not its own.

use custodia_tests::{Server, both, day, encoded};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CUSTOMERS, PREFIXES, acme, ask, create, get, names, patch, path_of, person, told, with};

async fn list(server: &Server, query: &str) -> Value {
    get(server, &format!("{CUSTOMERS}{query}")).await.expect(200).json
}

/// Customers of lms have neither e-mail address nor source.
async fn lms_customer(server: &Server, external_id: &str) -> Value {
    server.post("/v1/customers", json!({"externalId": external_id})).await.expect(200).json
}

both! {
    async fn a_page_tells_where_it_stands(server: Server) {
        let empty = list(&server, "").await;
        let expected = json!({"data": [], "total": 0, "page": 1, "page_size": 20, "total_pages": 0, "has_next": false,
            "has_previous": false});
        assert_eq!(empty, expected);
        for name in ["Ada", "Bob", "Cem", "Dua", "Eve"] {
            let _ = create(&server, person(name)).await;
        }
        for (query, shown, page, size, pages, next, previous) in [
            ("", vec!["Eve", "Dua", "Cem", "Bob", "Ada"], 1, 20, 1, false, false),
            ("?page_size=2", vec!["Eve", "Dua"], 1, 2, 3, true, false),
            ("?page_size=2&page=2", vec!["Cem", "Bob"], 2, 2, 3, true, true),
            ("?page_size=2&page=3", vec!["Ada"], 3, 2, 3, false, true),
            ("?page_size=2&page=4", vec![], 4, 2, 3, false, true),
            ("?page_size=5", vec!["Eve", "Dua", "Cem", "Bob", "Ada"], 1, 5, 1, false, false),
            ("?page_size=100&page=1", vec!["Eve", "Dua", "Cem", "Bob", "Ada"], 1, 100, 1, false, false),
            ("?page_size=1&page=5", vec!["Ada"], 5, 1, 5, false, true),
        ] {
            for prefix in PREFIXES {
                let answer = get(&server, &format!("{prefix}/customers{query}")).await.expect(200).json;
                assert_eq!(names(&answer), shown, "{query}");
                let told = json!({"total": 5, "page": page, "page_size": size, "total_pages": pages, "has_next": next,
                    "has_previous": previous, "data": answer["data"]});
                assert_eq!(answer, told, "{query}");
            }
        }
        let last = list(&server, "?page=9223372036854775807&page_size=100").await;
        assert_eq!((&last["data"], &last["total"], &last["has_previous"]), (&json!([]), &json!(5), &json!(true)));
    }

    async fn an_item_is_what_a_read_answers_and_other_dialects_leave_nulls(server: Server) {
        let company = acme(&server).await;
        let created = create(&server, with(person("Ada"), "company_id", company["company_id"].clone())).await;
        let lms = lms_customer(&server, "by-lms").await;
        let all = list(&server, "?sort_by=id&sort_order=asc").await;
        assert_eq!(all["data"][0], created);
        assert_eq!(all["data"][0]["company_name"], "Acme");
        let other = &all["data"][1];
        assert_eq!(*other, get(&server, &format!("{CUSTOMERS}/by-lms")).await.expect(200).json);
        assert_eq!((other["id"].to_string().as_str(), &other["name"]), (lms["id"].as_str().unwrap(), &lms["displayName"]));
        for member in ["email", "source", "whatsapp_number", "ip", "city", "company_id", "company_name", "latitude"] {
            assert!(other.as_object().unwrap().contains_key(member) && other[member].is_null(), "{member}");
        }
    }

    async fn a_search_finds_by_name_address_and_phone(server: Server) {
        let people = [
            json!({"name": "Émilie O'Brien-Straße", "email": "Emilie.B@Example.com", "source": "web", "whatsapp_number": "+255700000001"}),
            json!({"name": "Bob Emil Straw", "email": "bob@elsewhere.org", "source": "web", "whatsapp_number": "255799999999"}),
            json!({"name": "100% _wild_", "email": "w@example.com", "source": "web"}),
        ];
        for body in people {
            let _ = create(&server, body).await;
        }
        let (emilie, bob, wild) = ("Émilie O'Brien-Straße", "Bob Emil Straw", "100% _wild_");
        for (search, found) in [
            ("emilie", vec![emilie]), ("ÉMIL", vec![bob, emilie]), ("strasse", vec![emilie]), ("stra", vec![bob, emilie]),
            ("brien", vec![emilie]), ("o'brien", vec![emilie]), ("emil straw", vec![bob]), ("straw emil bob", vec![bob]),
            ("emilie.b@example.com", vec![emilie]), ("EMILIE.B", vec![emilie]), ("bob@", vec![bob]),
            ("+255700000001", vec![emilie]), ("2557", vec![bob, emilie]), ("255799", vec![bob]),
            ("emilie straw", vec![]), ("mili", vec![]), ("%", vec![]), ("100%", vec![wild]), ("_wild_", vec![wild]),
            ("", vec![wild, bob, emilie]), ("  ", vec![wild, bob, emilie]),
        ] {
            let answer = list(&server, &format!("?search={}", encoded(search))).await;
            assert_eq!(names(&answer), found, "{search:?}");
            assert_eq!(answer["total"], found.len(), "{search:?}");
        }
        let path = path_of(&list(&server, "?search=emilie").await["data"][0]);
        let _ = patch(&server, &path, json!({"name": "Zoë", "email": "zoe@example.com", "whatsapp_number": null})).await.expect(200);
        for gone in ["emilie", "2557000", "emilie.b"] {
            assert_eq!(list(&server, &format!("?search={gone}")).await["total"], 0, "{gone}");
        }
        assert_eq!(names(&list(&server, "?search=zoe").await), ["Zoë"]);
    }

    async fn filters_are_all_of_them_met(server: Server) {
        let company = acme(&server).await;
        let (public, number) = (company["company_id"].as_str().unwrap().to_owned(), company["id"].to_string());
        let body = with(with(person("Ada"), "company_id", json!(public)), "source", json!("api"));
        let _ = create(&server, body.clone()).await;
        let _ = create(&server, with(with(body, "name", json!("Bob")), "is_active", json!(false))).await;
        let _ = create(&server, person("Cem")).await;
        let _ = lms_customer(&server, "Dua").await;
        let close = json!({"closureDate": day(0), "closureReasonId": 1});
        // A day may have begun since: a customer is closed on a day it was Active on.
        let _ = server.post("/v1/customers/external/Dua/close", close).await.expect(200);
        let (public, sought) = (public.as_str(), "Dua Customer");
        for (query, found) in [
            ("source=api".to_owned(), vec!["Bob", "Ada"]),
            ("source=web".to_owned(), vec!["Cem"]),
            ("source=API".to_owned(), vec![]),
            (format!("company_id={public}"), vec!["Bob", "Ada"]),
            (format!("company_id={number}"), vec!["Bob", "Ada"]),
            ("company_id=CMP-00000000".to_owned(), vec![]),
            ("company_id=999".to_owned(), vec![]),
            ("company_id=nothing".to_owned(), vec![]),
            ("is_active=true".to_owned(), vec!["Cem", "Ada"]),
            ("is_active=false".to_owned(), vec![sought, "Bob"]),
            ("is_active=on".to_owned(), vec!["Cem", "Ada"]),
            ("is_active=0".to_owned(), vec![sought, "Bob"]),
            (format!("company_id={public}&is_active=1&source=api&search=ada"), vec!["Ada"]),
            (format!("company_id={public}&is_active=0&search=cem"), vec![]),
        ] {
            let answer = list(&server, &format!("?{query}")).await;
            assert_eq!(names(&answer), found, "{query}");
            assert_eq!((&answer["total"], &answer["total_pages"]), (&json!(found.len()), &json!(found.len().min(1))));
        }
    }

    async fn every_order_is_kept_with_nulls_last_and_ties_by_id(server: Server) {
        // Created in this order; the addresses tie in pairs, and lms customers have none.
        for (name, email) in [("delta", "x@example.com"), ("Alpha", "b@example.com"), ("charlie", "x@example.com")] {
            let _ = create(&server, with(with(person("P"), "name", json!(name)), "email", json!(email))).await;
        }
        let _ = lms_customer(&server, "Echo").await;
        let _ = lms_customer(&server, "bravo").await;
        let _ = create(&server, with(with(person("P"), "name", json!("alpha")), "email", json!("b@example.com"))).await;
        let first = list(&server, "?sort_by=id&sort_order=asc").await["data"][0].clone();
        let _ = patch(&server, &path_of(&first), json!({"city": "Accra"})).await.expect(200);
        let (echo, bravo) = ("Echo Customer", "bravo Customer");
        for (sort, ascending) in [
            ("id", ["delta", "Alpha", "charlie", echo, bravo, "alpha"]),
            ("time_created", ["delta", "Alpha", "charlie", echo, bravo, "alpha"]),
            ("time_updated", ["Alpha", "charlie", echo, bravo, "alpha", "delta"]),
            ("name", ["Alpha", "alpha", bravo, "charlie", "delta", echo]),
        ] {
            assert_eq!(names(&list(&server, &format!("?sort_by={sort}&sort_order=asc")).await), ascending, "{sort}");
            let mut descending = ascending.to_vec();
            descending.reverse();
            for query in [format!("?sort_by={sort}&sort_order=desc"), format!("?sort_by={sort}")] {
                assert_eq!(names(&list(&server, &query).await), descending, "{query}");
            }
        }
        let by_email = list(&server, "?sort_by=email&sort_order=asc").await;
        assert_eq!(names(&by_email), ["Alpha", "alpha", "delta", "charlie", echo, bravo]);
        let by_email = list(&server, "?sort_by=email&sort_order=desc").await;
        assert_eq!(names(&by_email), ["charlie", "delta", "alpha", "Alpha", bravo, echo]);
        assert_eq!(list(&server, "?sort_order=desc").await, list(&server, "").await, "time_created is the default");
        let mut walked = Vec::new();
        for page in 1..=3 {
            let part = list(&server, &format!("?sort_by=email&sort_order=desc&page_size=2&page={page}")).await;
            walked.extend(names(&part).into_iter().map(str::to_owned));
        }
        assert_eq!(walked, names(&by_email), "pages cut one order");
    }

    async fn parameters_out_of_range_are_told_in_the_query(server: Server) {
        for (query, problem, message) in [
            ("page=0", "greater_than_equal query/page", "Input should be greater than or equal to 1"),
            ("page=-5", "greater_than_equal query/page", "Input should be greater than or equal to 1"),
            ("page=x", "int_parsing query/page", "Input should be a valid integer, unable to parse string as an integer"),
            ("page=", "int_parsing query/page", "Input should be a valid integer, unable to parse string as an integer"),
            ("page=1.5", "int_parsing query/page", "Input should be a valid integer, unable to parse string as an integer"),
            ("page_size=0", "greater_than_equal query/page_size", "Input should be greater than or equal to 1"),
            ("page_size=101", "less_than_equal query/page_size", "Input should be less than or equal to 100"),
            ("page_size=1e2", "int_parsing query/page_size", "Input should be a valid integer, unable to parse string as an integer"),
            ("is_active=perhaps", "bool_parsing query/is_active", "Input should be a valid boolean, unable to interpret input"),
            ("is_active=", "bool_parsing query/is_active", "Input should be a valid boolean, unable to interpret input"),
            ("sort_by=colour", "enum query/sort_by", "Input should be 'time_created', 'time_updated', 'name', 'email' or 'id'"),
            ("sort_by=NAME", "enum query/sort_by", "Input should be 'time_created', 'time_updated', 'name', 'email' or 'id'"),
            ("sort_order=up", "enum query/sort_order", "Input should be 'desc' or 'asc'"),
            ("nothing=1", "extra_forbidden query/nothing", "Extra inputs are not permitted"),
            ("Page=1", "extra_forbidden query/Page", "Extra inputs are not permitted"),
            ("page=1&page=2", "value_error query/page", "Value error, must be given once"),
        ] {
            for prefix in PREFIXES {
                let answer = get(&server, &format!("{prefix}/customers?{query}")).await;
                assert_eq!(told(&answer), [problem], "{query}");
                assert_eq!(answer.json["detail"][0]["msg"], message, "{query}");
            }
        }
        let entry = &get(&server, &format!("{CUSTOMERS}?page=0")).await.json["detail"][0];
        let expected = json!({"type": "greater_than_equal", "loc": ["query", "page"], "input": "0", "ctx": {"ge": 1},
            "msg": "Input should be greater than or equal to 1"});
        assert_eq!(*entry, expected);
        let long = "x".repeat(257);
        assert_eq!(told(&get(&server, &format!("{CUSTOMERS}?search={long}")).await), ["string_too_long query/search"]);
        assert_eq!(told(&get(&server, &format!("{CUSTOMERS}?source={}", &long[..65])).await), ["string_too_long query/source"]);
        let all = get(&server, &format!("{CUSTOMERS}?page=0&page_size=x&is_active=7&sort_by=z&sort_order=z&zz=1&search=%FF")).await;
        let mut all = told(&all);
        all.sort();
        let mut expected = vec![
            "greater_than_equal query/page", "int_parsing query/page_size", "bool_parsing query/is_active",
            "enum query/sort_by", "enum query/sort_order", "extra_forbidden query/zz", "value_error query/search",
        ];
        expected.sort_unstable();
        assert_eq!(all, expected, "all of them at once");
        let beside = ask(&server, Method::POST, &format!("{CUSTOMERS}?page=1"), Some(json!({"name": "A"}))).await;
        assert_eq!(told(&beside), ["extra_forbidden query/page", "missing body/email", "missing body/source"]);
    }
}
