//! What values and aggregates show of themselves, word for word: what others build their answers from.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use custodia_domain::account::Identifier;
use custodia_domain::company::{CompanyId, crockford};
use custodia_domain::{
    ClientType, Customer, CustomerId, Date, EmailAddress, ExternalId, FullName, GenderId, LegalFormId, MobileNumber,
    Moment, Name, NamePart, NewCustomer, OfficeId, OrganizationId, Status, Timestamp, Version,
};

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn part(text: &str) -> NamePart {
    NamePart::parse(text).unwrap()
}

fn opened(new: NewCustomer) -> Customer {
    let at = Timestamp::parse("2026-05-25T09:30:00Z").unwrap();
    let moment = Moment { at, today: date("2026-05-25") };
    Customer::open(OrganizationId::parse(3).unwrap(), CustomerId::parse(42).unwrap(), new, moment).unwrap().0
}

#[test]
fn a_customer_shows_what_it_was_opened_with() {
    let name = Name::Person { first: part("Ada"), middle: Some(part("King")), last: part("Lovelace") };
    let office = OfficeId::parse(7).unwrap();
    let customer = opened(NewCustomer {
        external_id: Some(ExternalId::parse("ext-1").unwrap()),
        mobile: Some(MobileNumber::parse("+255711").unwrap()),
        email: Some(EmailAddress::parse("ada@example.com").unwrap()),
        born: Some(date("1990-12-10")),
        gender: Some(GenderId::parse(2).unwrap()),
        client_type: Some(ClientType::Person),
        legal_form: Some(LegalFormId::parse(1).unwrap()),
        submitted: Some(date("2026-05-01")),
        activated: Some(date("2026-05-02")),
        ..NewCustomer::named(office, name.clone())
    });
    assert_eq!(customer.display_name(), "Ada King Lovelace");
    assert_eq!(customer.first_name(), Some("Ada"));
    assert_eq!(customer.middle_name(), Some("King"));
    assert_eq!(customer.last_name(), Some("Lovelace"));
    assert_eq!(customer.name(), &name);
    assert_eq!(customer.external_id().map(ExternalId::as_str), Some("ext-1"));
    assert_eq!(customer.mobile().map(MobileNumber::as_str), Some("+255711"));
    assert_eq!(customer.email().map(EmailAddress::as_str), Some("ada@example.com"));
    assert_eq!(customer.born(), Some(date("1990-12-10")));
    assert_eq!((customer.submitted_on(), customer.activated_on()), (date("2026-05-01"), Some(date("2026-05-02"))));
    assert_eq!((customer.organization().get(), customer.id().get(), customer.office()), (3, 42, office));
    assert_eq!((customer.status(), customer.version(), customer.closing()), (Status::Active, Version::FIRST, None));
    assert_eq!(customer.created_at(), customer.updated_at());
    assert_eq!(customer.created_at(), Timestamp::parse("2026-05-25T09:30:00Z").unwrap());
    assert_eq!(customer.account_no().to_string(), "000000042");
    assert!(customer.enrolment().is_none());
}

#[test]
fn a_customer_without_parts_of_a_name_shows_none_or_its_external_id() {
    let office = OfficeId::parse(1).unwrap();
    let whole = opened(NewCustomer::named(office, Name::Full(FullName::parse("Acme Ltd").unwrap())));
    assert_eq!(whole.display_name(), "Acme Ltd");
    assert_eq!((whole.first_name(), whole.middle_name(), whole.last_name()), (None, None, None));
    assert_eq!((whole.external_id(), whole.mobile(), whole.email(), whole.born()), (None, None, None, None));
    assert_eq!((whole.status(), whole.activated_on()), (Status::Pending, None));
    let external_id = Some(ExternalId::parse("ext-2").unwrap());
    let mirrored = opened(NewCustomer { external_id, ..NewCustomer::named(office, Name::FollowsExternalId) });
    assert_eq!(mirrored.display_name(), "ext-2 Customer");
    assert_eq!((mirrored.first_name(), mirrored.middle_name()), (Some("ext-2"), None));
    assert_eq!(mirrored.last_name(), Some("Customer"));
}

#[test]
fn identifiers_of_an_account_are_called_as_callers_know_them() {
    let named =
        [Identifier::Account, Identifier::Holder, Identifier::Primary, Identifier::Portfolio, Identifier::Parent]
            .map(Identifier::member);
    let expected = [
        "sourceAccountId",
        "sourceCustomerIds",
        "primarySourceCustomerId",
        "sourcePortfolioId",
        "sourceParentCustomerId",
    ];
    assert_eq!(named, expected);
}

#[test]
fn a_company_id_is_a_prefix_and_eight_letters_of_crockfords_base() {
    assert_eq!(crockford(0b00011_00010_00001_11111, 5), "Z1230");
    assert_eq!(CompanyId::from_random(0).as_str(), "CMP-00000000");
    for good in ["CMP-01234567", "CMP-ABCDEFGH", "CMP-ZYXWVTSR"] {
        assert_eq!(CompanyId::parse(good).unwrap().as_str(), good);
    }
    for bad in ["CMP-0123456", "CMP-012345678", "CMP-0123456I", "CMP-IIIIIIII", "CMP-abcdefgh", "01234567", "CMP-"] {
        assert!(CompanyId::parse(bad).is_err(), "{bad}");
    }
}
