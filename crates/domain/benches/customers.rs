//! What the aggregate's commands and the parsing of its values cost, without any I/O. `just criterion` runs it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use custodia_domain::testing as any;
use custodia_domain::{
    ClosingTerms, ClosureReasonId, Customer, CustomerId, CustomerPatch, Date, EmailAddress, ExternalId, FullName,
    MobileNumber, Moment, Name, NamePart, NewCustomer, OfficeId, OrganizationId, Patch, Timestamp, search,
};
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;

/// How many random values of each kind are parsed.
const SAMPLES: usize = 200;

fn moment() -> Moment {
    let at = Timestamp::parse("2026-05-22T09:30:00Z").expect("an instant");
    Moment { at, today: at.date_utc() }
}

fn new_customer() -> NewCustomer {
    let part = |text| NamePart::parse(text).expect("a name");
    let name = Name::Person { first: part("Ada"), middle: None, last: part("Lovelace") };
    NewCustomer {
        external_id: ExternalId::parse("ext-ada-001").ok(),
        mobile: MobileNumber::parse("+255 712 000 001").ok(),
        email: EmailAddress::parse("ada@example.com").ok(),
        born: Date::parse("1990-12-10").ok(),
        ..NewCustomer::named(OfficeId::FIRST, name)
    }
}

fn pending() -> Customer {
    Customer::open(OrganizationId::FIRST, CustomerId::FIRST, new_customer(), moment()).expect("nothing is wrong").0
}

fn commands(criterion: &mut Criterion) {
    criterion.bench_function("customer/create", |bench| {
        let open = |new| Customer::open(OrganizationId::FIRST, CustomerId::FIRST, new, moment());
        bench.iter_batched(new_customer, open, BatchSize::SmallInput);
    });
    criterion.bench_function("customer/activate and close", |bench| {
        let terms = ClosingTerms { on: moment().today, reason: ClosureReasonId::FIRST };
        let live = |mut customer: Customer| {
            let activated = customer.activate(moment().today, moment());
            let closed = customer.close(terms, moment());
            (activated, closed, customer)
        };
        bench.iter_batched(pending, live, BatchSize::SmallInput);
    });
    criterion.bench_function("customer/update", |bench| {
        let patch = CustomerPatch {
            email: Patch::Set(EmailAddress::parse("l@example.com").expect("an address")),
            ..no_patch()
        };
        let update = |mut customer: Customer| (customer.update(&patch, moment()), customer);
        bench.iter_batched(pending, update, BatchSize::SmallInput);
    });
    criterion.bench_function("customer/words", |bench| {
        let customer = pending();
        bench.iter(|| search::words_of(black_box(&customer)));
    });
}

fn no_patch() -> CustomerPatch {
    CustomerPatch::default()
}

/// Texts of random values, the same in every run.
fn texts<T>(strategy: impl Strategy<Value = T>, text: impl Fn(&T) -> String) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let mut next = || strategy.new_tree(&mut runner).expect("a value").current();
    (0..SAMPLES).map(|_| text(&next())).collect()
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse 200");
    let mut parse = |name: &str, texts: &[String], accepts: fn(&str) -> bool| {
        group.bench_function(name, |bench| {
            bench.iter(|| black_box(texts).iter().filter(|text| accepts(text)).count());
        });
    };
    let external_ids = texts(any::external_id(), |value| value.as_str().to_owned());
    parse("external ids", &external_ids, |text| ExternalId::parse(text).is_ok());
    let names = texts(any::full_name(), |value| value.as_str().to_owned());
    parse("names", &names, |text| FullName::parse(text).is_ok());
    let numbers = texts(any::mobile_number(), |value| value.as_str().to_owned());
    parse("mobile numbers", &numbers, |text| MobileNumber::parse(text).is_ok());
    let addresses = texts(any::email_address(), |value| value.as_str().to_owned());
    parse("e-mail addresses", &addresses, |text| EmailAddress::parse(text).is_ok());
    let dates = texts(any::date(), Date::to_string);
    parse("dates", &dates, |text| Date::parse(text).is_ok());
    let instants = texts(any::timestamp(), Timestamp::to_string);
    parse("instants", &instants, |text| Timestamp::parse(text).is_ok());
    parse("names, folded", &names, |text| !search::fold(text).is_empty());
    group.finish();
    criterion.bench_function("dates to days and back", |bench| {
        let days: Vec<i32> = (20_000..20_200).collect();
        bench.iter(|| {
            let there = black_box(&days).iter().filter_map(|days| Date::from_days_since_epoch(*days).ok());
            there.map(Date::days_since_epoch).sum::<i32>()
        });
    });
}

criterion_group!(benches, commands, parsing);
criterion_main!(benches);
