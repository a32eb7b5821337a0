//! Each store against a model of maps: random sequences of creations, commands, stale versions, retries, lists and
//! reopenings have to come to the same. What the model does not know, no dialect may rely on.
//!
//! `PROPTEST_CASES` sets the number of sequences; without it there are 256, and fewer on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod model;
#[path = "../support/mod.rs"]
mod support;

use std::sync::OnceLock;

use custodia_domain::ports::{
    Boundary, CommitError, CustomerFilter, CustomerQuery, Direction, LoggedEvent, SortKey, Window,
};
use custodia_domain::{Customer, Sequence};
use proptest::test_runner::Config;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use tokio::runtime::Runtime;

use model::{Expected, Model, Organizations, Registry, Step};
use support::{Stage, by_id, events_of, key, query};

/// One runtime for all sequences: the stores' tasks live on it between steps.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

fn cases(share: u32) -> Config {
    let all = Config::default();
    Config { cases: (all.cases / share).max(1), failure_persistence: None, max_shrink_iters: 2000, ..all }
}

/// The store of one sequence with its two organizations.
struct System {
    stage: Stage,
    organizations: Organizations,
}

impl System {
    fn start(stage: impl Future<Output = Stage>) -> Self {
        runtime().block_on(async {
            let stage = stage.await;
            let organizations = [stage.organization().await, stage.organization().await];
            Self { stage, organizations }
        })
    }

    fn step(mut self, model: &Model, step: &Step) -> Self {
        runtime().block_on(async {
            match step {
                Step::Reopen => self.stage.reopen().await,
                Step::Purge { before } => {
                    let purged = self.stage.store.purge_receipts(support::at(*before), 1000).await.unwrap();
                    assert_eq!(purged, model.purged);
                }
                Step::List(list) => self.compare_list(model, *list).await,
                Step::Create { .. } | Step::Command { .. } => self.commit(model).await,
            }
        });
        self
    }

    async fn commit(&self, model: &Model) {
        let Some((unit, expected)) = &model.last else { return };
        let organization = unit.organization;
        let verdict = self.stage.commit(unit.clone()).await;
        let met = match (&verdict, expected) {
            (Ok(_), Expected::Kept) => true,
            (Err(error), Expected::Refused(allowed)) => allowed.iter().any(|allowed| allowed.is(error)),
            (Ok(_), Expected::Refused(_)) | (Err(_), Expected::Kept) => false,
        };
        assert!(met, "{expected:?} came out as {verdict:?}");
        let id = unit.customers[0].customer();
        let kept = model.registry(organization);
        assert_eq!(self.stage.find(organization, id).await.as_ref(), kept.customers.get(&id));
    }

    async fn compare_list(&self, model: &Model, list: model::List) {
        let registry = &model.registries[list.organization];
        let filter = list.filter();
        let wanted = registry.list(&filter, list.sort, list.direction);
        let first = CustomerQuery {
            filter,
            limit: list.limit,
            ..query(self.organizations[list.organization], list.sort, list.direction, Window::Page { offset: 0 })
        };
        let page = self.stage.list(&first).await;
        assert_eq!(page.total, Some(wanted.len() as u64));
        assert_eq!(page.customers, wanted[..wanted.len().min(usize::from(list.limit))]);
        assert_eq!(self.walk(&first).await, wanted);
    }

    async fn walk(&self, query: &CustomerQuery) -> Vec<Customer> {
        let mut seen: Vec<Customer> = Vec::new();
        loop {
            let place = seen.last().map(|customer| Boundary::after(customer, query.sort));
            let page = self.stage.list(&CustomerQuery { window: Window::After(place), ..query.clone() }).await;
            seen.extend(page.customers);
            if !page.more {
                return seen;
            }
        }
    }

    /// Everything that is stored is what the model holds, and nothing else.
    fn compare(&self, model: &Model) {
        runtime().block_on(async {
            for (registry, organization) in model.registries.iter().zip(self.organizations) {
                self.compare_registry(registry, organization).await;
            }
        });
    }

    async fn compare_registry(&self, registry: &Registry, organization: custodia_domain::OrganizationId) {
        let store = &self.stage.store;
        let all = query(organization, SortKey::Id, Direction::Ascending, Window::Page { offset: 0 });
        let listed = self.stage.list(&all).await;
        assert!(listed.customers.iter().eq(registry.customers.values()));
        assert_eq!(listed.total, Some(registry.customers.len() as u64));
        let keys: Vec<_> = registry.histories.keys().map(|id| by_id(organization, *id)).collect();
        let found = store.find(&keys).await.unwrap();
        assert!(found.iter().map(Option::as_ref).eq(registry.histories.keys().map(|id| registry.customers.get(id))));
        let receipts: Vec<_> = (0..model::KEYS).map(key).collect();
        let kept = store.receipts(organization, &receipts).await.unwrap();
        let kept: Vec<_> = kept.iter().map(|receipt| receipt.as_ref().map(|receipt| receipt.at)).collect();
        assert_eq!(kept, (0..model::KEYS).map(|byte| registry.receipts.get(&byte).copied()).collect::<Vec<_>>());
        let feed = store.events(&events_of(organization)).await.unwrap();
        assert!(feed.is_sorted_by_key(|recorded| Sequence::get(recorded.sequence)));
        let told = registry.events.iter().cloned().map(LoggedEvent::Customer);
        assert!(feed.into_iter().map(|entry| entry.event).eq(told));
        for (id, versions) in &registry.histories {
            let mut history = store.history(organization, *id, None, 500).await.unwrap();
            history.reverse();
            let events: Vec<_> = history.into_iter().map(|recorded| recorded.event).collect();
            assert_eq!(events.len(), *versions, "one event for each version");
            let rebuilt = Customer::replay(organization, &events).unwrap();
            assert_eq!(rebuilt.as_ref(), registry.customers.get(id), "history equals state");
        }
    }
}

impl model::Refused {
    fn is(self, error: &CommitError) -> bool {
        match self {
            Self::Version => matches!(error, CommitError::VersionConflict(_)),
            Self::ExternalId => matches!(error, CommitError::ExternalIdTaken(_)),
            Self::Office => matches!(error, CommitError::UnknownOffice(_)),
            Self::Receipt => matches!(error, CommitError::ReceiptTaken),
        }
    }
}

impl model::List {
    fn filter(self) -> CustomerFilter {
        let words = self.word.map(str::to_owned).into_iter().collect();
        CustomerFilter { status: self.status, words, ..CustomerFilter::default() }
    }
}

macro_rules! against_the_model {
    ($store:ident, $share:literal) => {
        mod $store {
            use super::*;

            struct Test;

            impl StateMachineTest for Test {
                type SystemUnderTest = System;
                type Reference = Model;

                fn init_test(_: &Model) -> System {
                    System::start(support::$store())
                }

                fn apply(system: System, model: &Model, step: Step) -> System {
                    system.step(model, &step)
                }

                fn teardown(system: System, model: Model) {
                    system.compare(&model);
                }
            }

            prop_state_machine! {
                #![proptest_config(cases($share))]
                #[test]
                fn does_what_the_model_does(sequential 1..60 => Test);
            }
        }
    };
}

against_the_model!(memory, 1);
against_the_model!(sqlite, 1);
against_the_model!(postgres, 8);
