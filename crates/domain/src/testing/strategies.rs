//! How random values of the domain are made. Every value comes from its own `parse`, so that no strategy can make
//! one that the domain would refuse.

use core::net::IpAddr;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::account::{
    AccountDetails, AccountKind, AccountStatus, Card, CardKey, CardKind, CardStatus, Iin, Last4, Network,
};
use crate::facets::{
    Acquisition, AcquisitionPatch, Alert, Coordinate, CountryCode, Enrolment, FreeText, OptIn, PostalCode, Redemption,
    Source, Subsidiary, Targeting,
};
use crate::registry::{AccountDraft, AccountPut, CardDraft, Command, ProgrammeItem};
use crate::{
    ClientType, ClosingTerms, ClosureReasonId, CompanyNumber, Customer, CustomerEvent, CustomerId, CustomerPatch, Date,
    EmailAddress, ExternalId, FullName, GenderId, LegalFormId, MobileNumber, Moment, Name, NamePart, NamePatch,
    NewCustomer, OfficeId, OrganizationId, Outcome, Patch, Timestamp,
};

/// The day that moments and dates lie around: 2026-05-22.
const CENTRE: i32 = 20_595;

/// Ids from 1 upwards, small and huge.
pub fn id() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1..200_i64, 1 => 1..=i64::MAX]
}

/// Any date of the years 1 to 9999.
pub fn date() -> impl Strategy<Value = Date> {
    (-719_162..=2_932_896_i32).prop_map(|days| Date::from_days_since_epoch(days).expect("in range"))
}

/// A date at most that many days from 2026-05-22.
pub fn date_near(days: i32) -> impl Strategy<Value = Date> {
    (CENTRE - days..=CENTRE + days).prop_map(|days| Date::from_days_since_epoch(days).expect("in range"))
}

/// Any instant of the years 1 to 9999.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_000_000..=253_402_200_000_000_000_i64)
        .prop_map(|microseconds| Timestamp::from_microseconds(microseconds).expect("in range"))
}

/// A moment within some days of 2026-05-22, in UTC.
pub fn moment() -> impl Strategy<Value = Moment> {
    (0..20 * 86_400_000_000_i64).prop_map(|offset| {
        let at = Timestamp::from_microseconds(i64::from(CENTRE) * 86_400_000_000 + offset).expect("in range");
        Moment { at, today: at.date_utc() }
    })
}

/// External ids: plain ones, and ones that are hard to carry (`/`, `%`, spaces, letters of many scripts, 128 long).
pub fn external_id() -> impl Strategy<Value = ExternalId> {
    let text = prop_oneof![
        4 => "[a-z]{1,3}-[0-9]{1,3}",
        2 => "[!-~]{1,20}",
        2 => "[a-zé名ß/%]( ?[a-zé名ß/%#?&=+.]){0,40}",
        1 => "[à-ÿ]{128}",
        1 => "\\PC{1,30}",
    ];
    text.prop_filter_map("no external id", |text| ExternalId::parse(&text).ok())
}

/// First, middle and last names.
pub fn name_part() -> impl Strategy<Value = NamePart> {
    let text = prop_oneof![3 => "[A-Z][a-zé'-]{0,12}", 1 => "\\PC{1,100}"];
    text.prop_filter_map("no name", |text| NamePart::parse(&text).ok())
}

/// Whole names.
pub fn full_name() -> impl Strategy<Value = FullName> {
    let text = prop_oneof![3 => "[A-Z][a-zé'-]{0,12} [A-Z][a-zø]{0,12}", 1 => "\\PC{1,200}"];
    text.prop_filter_map("no name", |text| FullName::parse(&text).ok())
}

/// Contact numbers.
pub fn mobile_number() -> impl Strategy<Value = MobileNumber> {
    prop_oneof![3 => "\\+?[0-9]{6,15}", 1 => "[ -~]{1,50}"]
        .prop_filter_map("no number", |text| MobileNumber::parse(&text).ok())
}

/// E-mail addresses.
pub fn email_address() -> impl Strategy<Value = EmailAddress> {
    "[a-zA-Z0-9][a-zA-Z0-9+_-]{0,12}(\\.[a-z0-9]{1,5})?@[a-z]{1,10}(-[a-z0-9]{1,3})?\\.(com|org|co\\.uk|例)"
        .prop_filter_map("no address", |text| EmailAddress::parse(&text).ok())
}

/// Both client types.
pub fn client_type() -> impl Strategy<Value = ClientType> {
    prop_oneof![Just(ClientType::Person), Just(ClientType::Entity)]
}

/// Names in all three forms.
pub fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        (name_part(), option::of(name_part()), name_part()).prop_map(|(first, middle, last)| Name::Person {
            first,
            middle,
            last
        }),
        full_name().prop_map(Name::Full),
        Just(Name::FollowsExternalId),
    ]
    .boxed()
}

/// Drafts of customers, valid and not: dates may be in the future or out of order, the external id may be missing.
pub fn new_customer() -> impl Strategy<Value = NewCustomer> {
    let who = (
        option::weighted(0.8, external_id()),
        1..3_i64,
        name(),
        option::of(mobile_number()),
        option::of(email_address()),
    );
    let what = (option::of(date_near(20_000)), option::of(1..9_i64), option::of(client_type()), option::of(1..9_i64));
    let when = (option::weighted(0.4, date_near(30)), option::weighted(0.6, date_near(30)));
    (who, what, when, acquisition(), option::weighted(0.2, enrolment()))
        .prop_map(
            |(
                (external_id, office, name, mobile, email),
                (born, gender, client_type, legal_form),
                (submitted, activated),
                acquisition,
                enrolment,
            )| {
                NewCustomer {
                    external_id,
                    office: OfficeId::parse(office).expect("positive"),
                    name,
                    mobile,
                    email,
                    born,
                    gender: gender.map(|id| GenderId::parse(id).expect("positive")),
                    client_type,
                    legal_form: legal_form.map(|id| LegalFormId::parse(id).expect("positive")),
                    submitted,
                    activated,
                    acquisition,
                    enrolment,
                }
            },
        )
        .boxed()
}

/// Customers as their creation leaves them.
pub fn customer() -> impl Strategy<Value = (Customer, CustomerEvent)> {
    (id(), new_customer(), moment())
        .prop_filter_map("an invalid draft", |(id, mut new, moment)| {
            // Most random dates contradict one another: keep the draft, drop what is wrong with it.
            if !new.problems(moment.today).is_empty() {
                new.submitted = None;
                new.activated = new.activated.map(|date| date.min(moment.today));
                new.born = new.born.map(|date| date.min(moment.today));
                new.enrolment = new.enrolment.filter(|enrolment| enrolment.problems(moment.today).is_empty());
            }
            Customer::open(OrganizationId::FIRST, CustomerId::parse(id).ok()?, new, moment).ok()
        })
        .boxed()
}

fn patch<T: Clone + std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Patch<T>> {
    prop_oneof![2 => Just(Patch::Keep), 1 => Just(Patch::Clear), 2 => value.prop_map(Patch::Set)]
}

/// Changes of name.
pub fn name_patch() -> impl Strategy<Value = NamePatch> {
    prop_oneof![
        2 => Just(NamePatch::Keep),
        1 => full_name().prop_map(NamePatch::Full),
        2 => (option::of(name_part()), patch(name_part()), option::of(name_part()))
            .prop_map(|(first, middle, last)| NamePatch::Parts { first, middle, last }),
    ]
    .boxed()
}

fn free_text() -> impl Strategy<Value = FreeText> {
    prop_oneof!["[A-Z][a-z ]{0,20}", "\\PC{1,200}"].prop_filter_map("no text", |text| FreeText::parse(&text).ok())
}

fn source() -> impl Strategy<Value = Source> {
    "web|api|whatsapp|[a-z]{1,64}".prop_map(|text| Source::parse(&text).expect("1 to 64 letters"))
}

fn ip_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u16; 8]>().prop_map(IpAddr::from),]
}

fn latitude() -> impl Strategy<Value = Coordinate> {
    "[+-]?[0-8]?[0-9](\\.[0-9]{1,9})?".prop_map(|text| Coordinate::latitude(&text).expect("below 90"))
}

fn longitude() -> impl Strategy<Value = Coordinate> {
    "[+-]?(1[0-7])?[0-9](\\.[0-9]{1,9})?".prop_map(|text| Coordinate::longitude(&text).expect("below 180"))
}

fn company() -> impl Strategy<Value = CompanyNumber> {
    (1..50_i64).prop_map(|number| CompanyNumber::parse(number).expect("positive"))
}

/// What an intake records, nothing included; without a company, which would have to exist.
pub fn acquisition() -> impl Strategy<Value = Acquisition> {
    let place = (option::of(free_text()), option::of(free_text()), option::of(free_text()));
    let rest = (option::of(source()), option::of(ip_address()), option::of(latitude()), option::of(longitude()));
    option::weighted(0.4, (place, rest))
        .prop_map(|known| {
            let Some(((city, country, location), (source, ip, latitude, longitude))) = known else {
                return Acquisition::EMPTY;
            };
            Acquisition { source, ip, city, country, location, latitude, longitude, company: None }
        })
        .boxed()
}

/// Partial changes of what an intake records; with companies, which need not exist.
pub fn acquisition_patch() -> impl Strategy<Value = AcquisitionPatch> {
    let place = (patch(free_text()), patch(free_text()), patch(free_text()));
    (place, patch(source()), patch(ip_address()), patch(latitude()), patch(longitude()), patch(company()))
        .prop_map(|((city, country, location), source, ip, latitude, longitude, company)| AcquisitionPatch {
            source,
            ip,
            city,
            country,
            location,
            latitude,
            longitude,
            company,
        })
        .boxed()
}

/// Parts in the programme, some of which begin in the future or end before they begin.
pub fn enrolment() -> impl Strategy<Value = Enrolment> {
    let who = (option::of(external_id()), "[0-9]{1,6}", "[0-9]{5}", prop_oneof!["US", "TZ", "GH"]);
    let near = || date_near(4_000).prop_map(|date| date.midnight_utc().expect("near"));
    let when = (near(), near(), option::of(near()));
    let what = (
        select(OptIn::ALL),
        proptest::collection::btree_set(select(Alert::ALL), 0..4),
        select(Targeting::ALL),
        option::of(select(Redemption::ALL)),
    );
    (who, when, what)
        .prop_map(|((parent, subsidiary, postal_code, country), (customer_since, starts, ends), what)| {
            let (opt_in, alerts, targeting, redemption) = what;
            Enrolment {
                parent,
                subsidiary: Subsidiary::parse(&subsidiary).expect("digits"),
                postal_code: PostalCode::parse(&postal_code).expect("digits"),
                country: CountryCode::parse(&country).expect("assigned"),
                customer_since,
                starts,
                ends,
                opt_in,
                alerts,
                targeting,
                redemption,
            }
        })
        .boxed()
}

/// An external id of a few, so that random records meet.
fn known_id(prefix: &'static str) -> impl Strategy<Value = ExternalId> {
    (0..4_u8).prop_map(move |number| ExternalId::parse(&format!("{prefix}-{number}")).expect("plain"))
}

fn near() -> impl Strategy<Value = Timestamp> {
    date_near(4_000).prop_map(|date| date.midnight_utc().expect("near"))
}

/// Whether something is closed, and when: mostly as the rules want it, sometimes not.
fn closing(opened: Timestamp) -> impl Strategy<Value = (bool, Option<Timestamp>)> {
    let later = (0..400_i64).prop_map(move |days| {
        Timestamp::from_microseconds(opened.microseconds() + days * 86_400_000_000).expect("near")
    });
    prop_oneof![
        4 => Just((false, None)),
        4 => later.prop_map(|closed| (true, Some(closed))),
        1 => (any::<bool>(), option::of(near())),
    ]
}

/// Which card of an account: of few holders, with few digits, so that keys meet.
pub fn card_key() -> impl Strategy<Value = CardKey> {
    (known_id("holder"), "000[0-9]")
        .prop_map(|(holder, last4)| CardKey { holder, last4: Last4::parse(&last4).expect("digits") })
}

/// Cards, some of which are closed against the rules.
pub fn card() -> impl Strategy<Value = Card> {
    let what = ("[0-9]{6}([0-9]{2})?", select(CardKind::ALL), 3..=6_i64);
    near().prop_flat_map(move |opened| {
        (what.clone(), closing(opened)).prop_map(move |((iin, kind, network), (is_closed, closed))| Card {
            iin: Iin::parse(&iin).expect("6 or 8 digits"),
            kind,
            status: if is_closed { CardStatus::Closed } else { CardStatus::Open },
            network: Network::parse(network).expect("3 to 6"),
            opened,
            closed,
        })
    })
}

/// An account's own values, some of which break the rules.
pub fn account_details() -> impl Strategy<Value = AccountDetails> {
    let holders = proptest::collection::btree_set(known_id("holder"), 1..4);
    let what = (holders, any::<proptest::sample::Index>(), option::weighted(0.1, known_id("holder")));
    let kinds = (select(AccountStatus::ALL), select(AccountKind::ALL), known_id("portfolio"));
    (what, kinds, near()).prop_flat_map(|((holders, first, other), (status, kind, portfolio), opened)| {
        let first = holders.iter().nth(first.index(holders.len())).cloned().expect("one of them");
        closing(opened).prop_map(move |(is_closed, closed)| AccountDetails {
            holders: holders.clone(),
            primary: other.clone().unwrap_or_else(|| first.clone()),
            status: match (is_closed, status) {
                (true, _) => AccountStatus::Closed,
                (false, AccountStatus::Closed) => AccountStatus::Open,
                (false, status) => status,
            },
            kind,
            portfolio: portfolio.clone(),
            opened,
            closed,
        })
    })
}

/// Changes of a card, whole and partial.
pub fn card_draft() -> impl Strategy<Value = CardDraft> {
    (card_key(), card(), any::<[bool; 5]>(), patch(near())).prop_map(|(key, card, named, closed)| {
        let [iin, kind, status, network, opened] = named;
        CardDraft {
            key,
            iin: iin.then_some(card.iin),
            kind: kind.then_some(card.kind),
            status: status.then_some(card.status),
            network: network.then_some(card.network),
            opened: opened.then_some(card.opened),
            closed,
        }
    })
}

/// Changes of an account, whole and partial.
pub fn account_draft() -> impl Strategy<Value = AccountDraft> {
    (known_id("account"), account_details(), any::<[bool; 6]>(), patch(near())).prop_map(|(id, all, named, closed)| {
        let [holders, primary, status, kind, portfolio, opened] = named;
        AccountDraft {
            id,
            expected: None,
            holders: holders.then_some(all.holders),
            primary: primary.then_some(all.primary),
            status: status.then_some(all.status),
            kind: kind.then_some(all.kind),
            portfolio: portfolio.then_some(all.portfolio),
            opened: opened.then_some(all.opened),
            closed,
        }
    })
}

/// Accounts with cards, whole and partial.
pub fn account_put() -> impl Strategy<Value = AccountPut> {
    (account_draft(), vec(card_draft(), 0..4)).prop_map(|(account, cards)| AccountPut { account, cards })
}

/// Customers of a batch with what they carry.
pub fn programme_item() -> impl Strategy<Value = ProgrammeItem> {
    (known_id("holder"), enrolment(), vec(account_put(), 0..3))
        .prop_map(|(customer, enrolment, accounts)| ProgrammeItem { customer, expected: None, enrolment, accounts })
}

/// Partial changes, the empty one included.
pub fn customer_patch() -> impl Strategy<Value = CustomerPatch> {
    let core = (
        option::weighted(0.2, external_id()),
        name_patch(),
        patch(mobile_number()),
        patch(email_address()),
        patch(date_near(9_000)),
    );
    let facets = (
        prop_oneof![2 => Just(AcquisitionPatch::default()), 1 => acquisition_patch()],
        option::weighted(0.2, enrolment()),
    );
    (core, facets)
        .prop_map(|((external_id, name, mobile, email, born), (mut acquisition, enrolment))| {
            // A company has to exist in the store that is tested: those are for the tests that make companies.
            acquisition.company = Patch::Keep;
            CustomerPatch { external_id, name, mobile, email, born, acquisition, enrolment }
        })
        .boxed()
}

/// When and why a customer is closed.
pub fn closing_terms() -> impl Strategy<Value = ClosingTerms> {
    (date_near(40), 1..9_i64)
        .prop_map(|(on, reason)| ClosingTerms { on, reason: ClosureReasonId::parse(reason).expect("positive") })
        .boxed()
}

/// Any command.
pub fn caller_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => customer_patch().prop_map(Command::Update),
        2 => date_near(30).prop_map(Command::Activate),
        1 => closing_terms().prop_map(Command::Close),
        1 => Just(Command::Delete),
    ]
    .boxed()
}

/// Commands with the moments at which they come, in order of time.
pub fn command_sequence(longest: usize) -> impl Strategy<Value = Vec<(Command, Moment)>> {
    (moment(), vec((caller_command(), 0..2 * 86_400_000_000_i64), 0..=longest))
        .prop_map(|(start, steps)| {
            let mut now = start.at.microseconds();
            steps
                .into_iter()
                .map(|(command, pause)| {
                    now += pause;
                    let at = Timestamp::from_microseconds(now).expect("in range");
                    (command, Moment { at, today: at.date_utc() })
                })
                .collect()
        })
        .boxed()
}

/// A customer with all that happened to it.
#[derive(Debug, Clone)]
pub struct Life {
    /// The customer as its creation left it, then after each applied command; the deletion adds none.
    pub states: Vec<Customer>,
    /// Its events; one for each state, and one more if it was deleted.
    pub events: Vec<CustomerEvent>,
}

impl Life {
    /// Runs the commands, oldest first; refused ones leave no trace, and a deletion ends the life.
    #[must_use]
    pub fn lived((customer, created): (Customer, CustomerEvent), commands: &[(Command, Moment)]) -> Self {
        let mut life = Self { states: vec![customer], events: vec![created] };
        for (command, moment) in commands {
            let mut next = life.states.last().expect("a life begins with a state").clone();
            let outcome = match command {
                Command::Activate(on) => next.activate(*on, *moment),
                Command::Close(terms) => next.close(*terms, *moment),
                Command::Update(patch) | Command::Amend { patch, .. } => next.update(patch, *moment),
                Command::Delete => match next.clone().delete(*moment) {
                    Ok(deletion) => {
                        life.events.push(deletion);
                        return life;
                    }
                    Err(error) => Err(error),
                },
            };
            if let Ok(Outcome::Applied(event)) = outcome {
                life.events.push(event);
                life.states.push(next);
            }
        }
        life
    }
}
