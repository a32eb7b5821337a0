//! What always holds of the domain, over random values and random lives.

use custodia_domain::loan::{Loan, LoanCounts, LoanPosition, LoanRefusal};
use custodia_domain::testing::{self as any, Life};
use custodia_domain::*;
use proptest::prelude::*;

/// At least 1,024 cases each; `PROPTEST_CASES` raises the number for a long run.
fn config() -> ProptestConfig {
    let standard = ProptestConfig::default();
    ProptestConfig { cases: standard.cases.max(1024), failure_persistence: None, ..standard }
}

fn fails(result: Result<(), any::Violation>) -> Result<(), TestCaseError> {
    result.map_err(|violation| TestCaseError::fail(violation.0))
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
    value: &T,
) -> Result<(), TestCaseError> {
    let text = serde_json::to_string(value).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let back: T = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&back, value);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    // Values

    #[test]
    fn an_accepted_external_id_parses_to_itself(value in any::external_id()) {
        prop_assert_eq!(ExternalId::parse(value.as_str()), Ok(value.clone()));
        through_json(&value)?;
    }

    #[test]
    fn an_accepted_name_part_parses_to_itself(value in any::name_part()) {
        prop_assert_eq!(NamePart::parse(value.as_str()), Ok(value.clone()));
        through_json(&value)?;
    }

    #[test]
    fn an_accepted_whole_name_parses_to_itself(value in any::full_name()) {
        prop_assert_eq!(FullName::parse(value.as_str()), Ok(value.clone()));
        through_json(&value)?;
    }

    #[test]
    fn an_accepted_mobile_number_parses_to_itself(value in any::mobile_number()) {
        prop_assert_eq!(MobileNumber::parse(value.as_str()), Ok(value.clone()));
        through_json(&value)?;
    }

    #[test]
    fn an_accepted_e_mail_address_parses_to_itself(value in any::email_address()) {
        prop_assert_eq!(EmailAddress::parse(value.as_str()), Ok(value.clone()));
        through_json(&value)?;
    }

    #[test]
    fn an_external_id_is_refused_or_kept_byte_for_byte(text in "\\PC{0,140}|.{0,10}|[ \\t]?[a-z]{0,3}[ \\t]?") {
        if let Ok(id) = ExternalId::parse(&text) {
            prop_assert_eq!(id.as_str(), text);
        }
    }

    #[test]
    fn an_external_id_has_1_to_128_code_points_and_no_controls(text in ".{0,140}") {
        let valid = (1..=128).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text;
        prop_assert_eq!(ExternalId::parse(&text).is_ok(), valid);
    }

    #[test]
    fn names_are_trimmed_and_nothing_else(text in "[ \\u{a0}]{0,3}[A-Za-zé ]{0,110}[ \\u{3000}]{0,3}") {
        let trimmed = text.trim();
        match NamePart::parse(&text) {
            Ok(part) => prop_assert_eq!(part.as_str(), trimmed),
            Err(TextError::Empty) => prop_assert!(trimmed.is_empty()),
            Err(error) => prop_assert_eq!(error, TextError::TooLong { limit: 100 }),
        }
    }

    #[test]
    fn no_text_makes_a_value_panic(text in any::<String>()) {
        let _ = (ExternalId::parse(&text), NamePart::parse(&text), FullName::parse(&text), MobileNumber::parse(&text));
        let _ = (EmailAddress::parse(&text), Date::parse(&text), Timestamp::parse(&text), OfficeName::parse(&text));
        let _ = (RequestId::parse(&text), Actor::new(&text), search::fold(&text), search::query_words(&text));
    }

    #[test]
    fn what_looks_like_an_address_and_is_refused_says_nothing_of_it(text in "[a-z]{8}[ a-z]{1,4}@[a-z .-]{0,9}") {
        if let Err(error) = EmailAddress::parse(&text) {
            prop_assert!(!error.to_string().contains(&text));
        }
    }

    #[test]
    fn ids_are_the_positive_numbers(number in any::<i64>()) {
        prop_assert_eq!(CustomerId::parse(number).is_ok(), number > 0);
        prop_assert_eq!(OfficeId::parse(number).is_ok(), number > 0);
        prop_assert_eq!(OrganizationId::parse(number).map(OrganizationId::get).ok(), Some(number).filter(|n| *n > 0));
    }

    #[test]
    fn an_account_number_is_the_id_and_nothing_else(number in any::id()) {
        let text = CustomerId::parse(number).unwrap().account_no().to_string();
        prop_assert!(text.len() >= 9);
        prop_assert_eq!(text.parse::<i64>().unwrap(), number);
    }

    #[test]
    fn versions_go_up_and_down_by_one(number in 1..i64::MAX) {
        let version = Version::parse(number).unwrap();
        prop_assert_eq!(version.next().previous(), Some(version));
        prop_assert_eq!(version.next().get(), number + 1);
    }

    // Time

    #[test]
    fn a_date_parses_to_itself(date in any::date()) {
        prop_assert_eq!(Date::parse(&date.to_string()), Ok(date));
        through_json(&date)?;
    }

    #[test]
    fn a_date_is_its_number_of_days(date in any::date()) {
        prop_assert_eq!(Date::from_days_since_epoch(date.days_since_epoch()), Ok(date));
        let (year, month, day) = date.ymd();
        prop_assert_eq!(Date::from_ymd(year, month.into(), day.into()), Ok(date));
    }

    #[test]
    fn dates_are_ordered_as_their_texts(a in any::date(), b in any::date()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a.cmp(&b), a.days_since_epoch().cmp(&b.days_since_epoch()));
    }

    #[test]
    fn only_the_exact_shape_is_a_date(text in "[0-9]{3,5}[-/]?[0-9]{1,2}[-/]?[0-9]{1,2}[TZ ]?") {
        if let Ok(date) = Date::parse(&text) {
            prop_assert_eq!(date.to_string(), text);
        }
    }

    #[test]
    fn an_instant_parses_to_itself(instant in any::timestamp()) {
        prop_assert_eq!(Timestamp::parse(&instant.to_string()), Ok(instant));
        prop_assert_eq!(Timestamp::from_microseconds(instant.microseconds()), Ok(instant));
        through_json(&instant)?;
    }

    #[test]
    fn an_offset_names_the_same_instant(instant in any::date_near(5_000), minutes in 0..1_439_i64) {
        let utc = instant.midnight_utc().unwrap();
        let shifted = Timestamp::from_microseconds(utc.microseconds() + minutes * 60_000_000).unwrap();
        let clock = shifted.to_string();
        let text = format!("{}+{:02}:{:02}", &clock[..19], minutes / 60, minutes % 60);
        prop_assert_eq!(Timestamp::parse(&text), Ok(utc));
    }

    // Folding

    #[test]
    fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
        let once = search::fold(&text);
        prop_assert_eq!(search::fold(&once), once);
    }

    #[test]
    fn ascii_case_does_not_count(text in "[ -~]{0,40}") {
        prop_assert_eq!(search::fold(&text.to_uppercase()), search::fold(&text.to_lowercase()));
    }

    #[test]
    fn query_words_are_folded_distinct_and_without_space(text in "\\PC{0,60}") {
        let words = search::query_words(&text);
        let mut distinct = words.clone();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(&distinct, &words);
        prop_assert!(words.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace)));
    }

    #[test]
    fn a_customer_is_found_by_every_beginning_of_its_words((customer, _) in any::customer(), at in any::<prop::sample::Index>(), length in 1..8_usize) {
        let words: Vec<_> = search::words_of(&customer).into_iter().collect();
        let beginning: String = at.get(&words).chars().take(length).collect();
        prop_assert!(search::finds(&customer, &[beginning]));
    }

    #[test]
    fn a_customer_is_found_by_its_whole_display_name((customer, _) in any::customer()) {
        prop_assert!(search::finds(&customer, &search::query_words(&customer.display_name())));
    }

    #[test]
    fn a_customer_is_not_found_by_what_none_of_its_words_begins_with((customer, _) in any::customer()) {
        let crabs = ["🦀🦀".to_owned()];
        prop_assert!(!search::finds(&customer, &crabs));
    }

    // Creation

    #[test]
    fn a_draft_opens_exactly_when_it_has_no_problems(new in any::new_customer(), moment in any::moment()) {
        let problems = new.problems(moment.today);
        match Customer::open(OrganizationId::FIRST, CustomerId::FIRST, new, moment) {
            Ok(_) => prop_assert!(problems.is_empty()),
            Err(CommandError::Invalid(named)) => prop_assert_eq!(named, problems),
            Err(CommandError::Refused(_)) => prop_assert!(false, "a creation was refused"),
        }
    }

    #[test]
    fn a_draft_in_the_future_names_every_date(new in any::new_customer(), moment in any::moment()) {
        let future = [(Field::Submitted, new.submitted), (Field::Activation, new.activated), (Field::DateOfBirth, new.born)];
        let problems = new.problems(moment.today);
        for (field, date) in future {
            let named = problems.contains(&Invalid { field, rule: Rule::InFuture });
            prop_assert_eq!(named, date.is_some_and(|date| date > moment.today));
        }
    }

    #[test]
    fn a_new_customer_is_active_exactly_when_an_activation_date_is_given((customer, event) in any::customer()) {
        prop_assert_eq!(customer.status() == Status::Active, customer.activated_on().is_some());
        prop_assert!(customer.status() != Status::Closed);
        prop_assert_eq!(event.kind(), EventKind::Created);
        prop_assert_eq!(customer.version(), Version::FIRST);
        prop_assert_eq!(customer.created_at(), event.at());
    }

    #[test]
    fn the_submission_is_never_after_the_activation((customer, _) in any::customer()) {
        prop_assert!(customer.activated_on().is_none_or(|activated| customer.submitted_on() <= activated));
    }

    #[test]
    fn a_creation_tells_the_whole_state((customer, event) in any::customer()) {
        fails(any::events_tell_the_whole_state(std::slice::from_ref(&event), &customer))?;
        prop_assert!(event.changes().iter().all(|change| change.from.is_none()));
        through_json(&event)?;
    }

    #[test]
    fn a_display_name_is_never_blank((customer, _) in any::customer()) {
        prop_assert!(!customer.display_name().trim().is_empty());
        prop_assert_eq!(customer.first_name().is_some(), customer.last_name().is_some());
    }

    // Life

    #[test]
    fn the_lifecycle_is_the_models(start in any::customer(), commands in any::command_sequence(12)) {
        let mut customer = start.0;
        for (command, moment) in commands {
            fails(any::model_agrees(&customer, &command, moment))?;
            let life = Life::lived((customer.clone(), start.1.clone()), &[(command, moment)]);
            customer = life.states.last().unwrap().clone();
        }
    }

    #[test]
    fn every_cell_of_the_table_holds_at_every_step(start in any::customer(), commands in any::command_sequence(8)) {
        for customer in Life::lived(start, &commands).states {
            fails(any::follows_the_table(&customer))?;
        }
    }

    #[test]
    fn refusals_change_nothing(start in any::customer(), commands in any::command_sequence(8), last in any::caller_command(), moment in any::moment()) {
        let life = Life::lived(start, &commands);
        fails(any::refusal_changes_nothing(life.states.last().unwrap(), &last, moment))?;
    }

    #[test]
    fn versions_grow_by_one_for_each_event(start in any::customer(), commands in any::command_sequence(16)) {
        let life = Life::lived(start, &commands);
        fails(any::applies_once_per_version(&life.events))?;
        for (state, event) in life.states.iter().zip(&life.events) {
            prop_assert_eq!(state.version(), event.version());
        }
    }

    #[test]
    fn replaying_the_events_up_to_any_version_rebuilds_that_version(start in any::customer(), commands in any::command_sequence(16)) {
        let life = Life::lived(start, &commands);
        for (position, state) in life.states.iter().enumerate() {
            fails(any::replay_rebuilds(&life.events[..=position], Some(state)))?;
        }
    }

    #[test]
    fn the_events_of_a_life_tell_the_whole_state(start in any::customer(), commands in any::command_sequence(16)) {
        let life = Life::lived(start, &commands);
        fails(any::events_tell_the_whole_state(&life.events[..life.states.len()], life.states.last().unwrap()))?;
    }

    #[test]
    fn nothing_follows_a_deletion_and_it_tells_nothing_personal(start in any::customer(), moment in any::moment()) {
        let (customer, created) = start;
        if let Ok(deletion) = customer.clone().delete(moment) {
            prop_assert_eq!(customer.status(), Status::Pending);
            prop_assert!(deletion.changes().is_empty());
            fails(any::replay_rebuilds(&[created, deletion], None))?;
        }
    }

    #[test]
    fn closed_is_for_good(start in any::customer(), commands in any::command_sequence(16)) {
        let life = Life::lived(start, &commands);
        let closed = life.states.iter().position(|state| state.status() == Status::Closed);
        prop_assert!(closed.is_none_or(|at| at + 1 == life.states.len()));
    }

    #[test]
    fn what_never_changes_by_command_never_changes(start in any::customer(), commands in any::command_sequence(16)) {
        let life = Life::lived(start, &commands);
        let first = &life.states[0];
        for state in &life.states {
            prop_assert_eq!((state.id(), state.office(), state.submitted_on(), state.created_at()), (first.id(), first.office(), first.submitted_on(), first.created_at()));
        }
    }

    #[test]
    fn stored_parts_rebuild_the_customer(start in any::customer(), commands in any::command_sequence(6)) {
        let customer = Life::lived(start, &commands).states.pop().unwrap();
        prop_assert_eq!(Customer::rehydrate(customer.snapshot().clone()), Ok(customer));
    }

    #[test]
    fn events_out_of_order_are_refused(start in any::customer(), commands in any::command_sequence(8)) {
        let mut events = Life::lived(start, &commands).events;
        prop_assume!(events.len() > 1);
        events.swap(0, 1);
        prop_assert!(Customer::replay(OrganizationId::FIRST, &events).is_err());
        events.remove(0);
        events.truncate(1);
        events.insert(0, events[0].clone());
        prop_assert!(Customer::replay(OrganizationId::FIRST, &events).is_err());
    }

    #[test]
    fn what_is_said_to_be_possible_is_what_the_commands_do(start in any::customer(), commands in any::command_sequence(8), open in 0..3_u32, more in 0..3_u32, moment in any::moment()) {
        let mut state = Life::lived(start, &commands).states.pop().unwrap().snapshot().clone();
        state.loans = LoanCounts { open, total: open + more };
        let customer = Customer::rehydrate(state).unwrap();
        for (transition, said) in customer.transitions() {
            prop_assert_eq!(tried(&customer, transition, moment), said, "{}", transition.name());
        }
    }

    #[test]
    fn an_erased_history_rebuilds_nothing(start in any::customer(), commands in any::command_sequence(12), moment in any::moment()) {
        let life = Life::lived(start, &commands);
        let mut events: Vec<_> = life.events.into_iter().map(CustomerEvent::erased).collect();
        for length in 1..=events.len() {
            fails(any::replay_rebuilds(&events[..length], None))?;
        }
        if let Ok(deletion) = life.states.last().unwrap().clone().delete(moment)
            && events.last().unwrap().kind() != EventKind::Deleted
        {
            events.push(deletion);
            fails(any::replay_rebuilds(&events, None))?;
            fails(any::applies_once_per_version(&events))?;
        }
    }

    // Updates

    #[test]
    fn a_patch_is_held_exactly_when_it_changes_nothing(start in any::customer(), commands in any::command_sequence(4), patch in any::customer_patch(), moment in any::moment()) {
        let customer = Life::lived(start, &commands).states.pop().unwrap();
        prop_assert!(customer.holds(&CustomerPatch::default()));
        if patch.problems(moment.today).is_empty() {
            match customer.clone().update(&patch, moment) {
                Ok(outcome) => prop_assert_eq!(customer.holds(&patch), outcome == Outcome::Unchanged),
                Err(CommandError::Invalid(_)) => prop_assert!(!customer.holds(&patch)),
                Err(CommandError::Refused(refusal)) => prop_assert_eq!(refusal.status, Status::Closed),
            }
        }
    }

    #[test]
    fn the_same_update_twice_is_one_change((customer, _) in any::customer(), patch in any::customer_patch(), moment in any::moment()) {
        let mut once = customer;
        if once.update(&patch, moment).is_ok() {
            let mut twice = once.clone();
            prop_assert_eq!(twice.update(&patch, moment), Ok(Outcome::Unchanged));
            prop_assert_eq!(twice, once);
        }
    }

    #[test]
    fn an_empty_update_is_no_change((customer, _) in any::customer(), moment in any::moment()) {
        let mut after = customer.clone();
        prop_assert_eq!(after.update(&CustomerPatch::default(), moment), Ok(Outcome::Unchanged));
        prop_assert_eq!(after, customer);
    }

    #[test]
    fn there_and_back_again_is_two_changes((customer, _) in any::customer(), a in any::mobile_number(), b in any::mobile_number(), moment in any::moment()) {
        prop_assume!(a != b);
        let set = |mobile: &MobileNumber| CustomerPatch { mobile: Patch::Set(mobile.clone()), ..CustomerPatch::default() };
        let mut customer = customer;
        let _ = customer.update(&set(&a), moment).unwrap();
        let before = customer.clone();
        let first = customer.update(&set(&b), moment).unwrap();
        let second = customer.update(&set(&a), moment).unwrap();
        prop_assert!(matches!(first, Outcome::Applied(_)) && matches!(second, Outcome::Applied(_)));
        prop_assert_eq!(customer.version(), before.version().next().next());
        prop_assert_eq!(customer.mobile(), before.mobile());
    }

    #[test]
    fn what_a_patch_clears_is_gone_and_what_it_keeps_stays((customer, _) in any::customer(), moment in any::moment()) {
        let mut after = customer.clone();
        let patch = CustomerPatch { mobile: Patch::Clear, ..CustomerPatch::default() };
        let _ = after.update(&patch, moment).unwrap();
        prop_assert_eq!(after.mobile(), None);
        prop_assert_eq!((after.email(), after.born(), after.name()), (customer.email(), customer.born(), customer.name()));
    }

    #[test]
    fn a_name_that_was_never_set_follows_the_external_id(first in any::external_id(), second in any::external_id(), moment in any::moment()) {
        let new = NewCustomer { external_id: Some(first), ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId) };
        let (mut customer, _) = Customer::open(OrganizationId::FIRST, CustomerId::FIRST, new, moment).unwrap();
        let _ = customer.update(&CustomerPatch { external_id: Some(second.clone()), ..CustomerPatch::default() }, moment).unwrap();
        prop_assert_eq!(customer.display_name(), format!("{second} Customer"));
        prop_assert_eq!(customer.first_name(), Some(second.as_str()));
    }

    #[test]
    fn a_customer_without_name_parts_needs_both((customer, _) in any::customer(), part in any::name_part(), moment in any::moment()) {
        prop_assume!(!matches!(customer.name(), Name::Person { .. }));
        let mut customer = customer;
        let name = NamePatch::Parts { first: Some(part), middle: Patch::Keep, last: None };
        let refused = customer.update(&CustomerPatch { name, ..CustomerPatch::default() }, moment);
        prop_assert_eq!(refused, Err(CommandError::Invalid(vec![Invalid { field: Field::LastName, rule: Rule::Required }])));
    }

    // Units of work

    #[test]
    fn a_unit_expects_the_version_before_its_first_event(start in any::customer(), commands in any::command_sequence(8)) {
        let life = Life::lived(start, &commands);
        for (state, event) in life.states.iter().zip(&life.events) {
            let change = CustomerChange::kept(state.clone(), vec![event.clone()]);
            prop_assert_eq!(change.expects(), state.version().previous());
            prop_assert_eq!(change.customer(), state.id());
        }
    }

    #[test]
    fn a_command_sequence_reaches_every_corner(commands in any::command_sequence(64)) {
        let mut last = None;
        for (_, moment) in &commands {
            prop_assert!(last.is_none_or(|last| last <= moment.at), "time goes forward");
            last = Some(moment.at);
        }
    }
}

/// What a command that is right in itself comes to.
fn tried(customer: &Customer, transition: Transition, moment: Moment) -> Result<(), Refusal> {
    let mut customer = customer.clone();
    let refusal = |result: Result<(), CommandError>| match result {
        Ok(()) => Ok(()),
        Err(CommandError::Refused(refusal)) => Err(refusal),
        Err(CommandError::Invalid(problems)) => panic!("{problems:?}"),
    };
    match transition {
        Transition::Activate => {
            let on = customer.submitted_on();
            let late = Moment { today: moment.today.max(on), ..moment };
            refusal(customer.activate(on, late).map(|_| ()))
        }
        Transition::Close => {
            let on = customer.activated_on().unwrap_or(moment.today);
            refusal(customer.close(ClosingTerms { on, reason: ClosureReasonId::FIRST }, moment).map(|_| ()))
        }
        Transition::Update => refusal(customer.update(&CustomerPatch::default(), moment).map(|_| ())),
        Transition::Delete => refusal(customer.delete(moment).map(|_| ())),
        Transition::OpenLoan => {
            let values = [("status", "Active"), ("principal", "1"), ("currencyCode", "TZS")];
            let values = values.map(|(name, text)| (name, Value::Text(text.into())));
            let get = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            let position = LoanPosition::from_values(get).expect("every value that is needed");
            let external_id = ExternalId::parse("l-1").expect("letters are an external id");
            match Loan::report(None, LoanId::FIRST, external_id, &customer, position, moment) {
                Ok(_) => Ok(()),
                Err(LoanRefusal::CustomerNotActive) => {
                    Err(Refusal { status: customer.status(), blockers: vec![Blocker::State] })
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn random_lives_reach_every_state_and_every_kind_of_event() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    let mut statuses = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let strategy = (any::customer(), any::command_sequence(16));
        let (start, commands) = strategy.new_tree(&mut runner).unwrap().current();
        let life = Life::lived(start, &commands);
        kinds.extend(life.events.iter().map(CustomerEvent::kind));
        statuses.extend(life.states.iter().map(Customer::status));
    }
    assert_eq!(kinds.len(), EventKind::ALL.len(), "{kinds:?}");
    assert_eq!(statuses.len(), Status::ALL.len(), "{statuses:?}");
}

#[test]
fn a_refusal_names_the_state_and_every_blocker_at_once() {
    let at = Timestamp::parse("2026-05-22T00:00:00Z").unwrap();
    let moment = Moment { at, today: at.date_utc() };
    let new = NewCustomer {
        activated: Some(moment.today),
        ..NewCustomer::named(OfficeId::FIRST, Name::Full(FullName::parse("Ada").unwrap()))
    };
    let (customer, _) = Customer::open(OrganizationId::FIRST, CustomerId::FIRST, new, moment).unwrap();
    let mut state = customer.snapshot().clone();
    state.loans = LoanCounts { open: 1, total: 2 };
    let mut customer = Customer::rehydrate(state).unwrap();
    let refusal = customer.permit(Transition::Delete).unwrap_err();
    assert_eq!(refusal, Refusal { status: Status::Active, blockers: vec![Blocker::State, Blocker::Loans(2)] });
    let terms = ClosingTerms { on: moment.today, reason: ClosureReasonId::FIRST };
    let Err(CommandError::Refused(refusal)) = customer.close(terms, moment) else {
        panic!("a customer with an open loan was closed")
    };
    assert_eq!(refusal.blockers, [Blocker::OpenLoans(1)]);
}
