//! The customer aggregate of a lender: its values, its lifecycle, the ports it needs and its use cases.
//!
//! This crate owns every rule about customers and knows nothing of HTTP, SQL, clocks or randomness: those
//! reach it through the [`ports`]. A service that keeps customers of its own can use it alone; see
//! `examples/embedded.rs`.
//!
//! ```
//! use custodia_domain::{
//!     Customer, CustomerId, Date, ExternalId, Moment, Name, NewCustomer, OfficeId, OrganizationId, Outcome,
//!     Status, Timestamp,
//! };
//!
//! let moment = Moment {
//!     at: Timestamp::parse("2026-05-22T09:30:00Z")?,
//!     today: Date::parse("2026-05-22")?,
//! };
//! let new = NewCustomer {
//!     external_id: Some(ExternalId::parse("ext-ada-001")?),
//!     ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId)
//! };
//! let (mut ada, created) = Customer::open(OrganizationId::parse(1)?, CustomerId::parse(42)?, new, moment)?;
//! assert_eq!(ada.status(), Status::Pending);
//! assert_eq!(created.version().get(), 1);
//!
//! let outcome = ada.activate(moment.today, moment)?;
//! assert!(matches!(outcome, Outcome::Applied(_)));
//! assert_eq!(ada.status(), Status::Active);
//! assert!(ada.activate(moment.today, moment).is_err(), "an Active customer cannot be activated again");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(clippy::wildcard_enum_match_arm)]

pub mod account;
pub mod company;
pub mod customer;
pub mod event;
pub mod facets;
pub mod loan;
pub mod ports;
pub mod record;
pub mod registry;
pub mod search;
#[cfg(feature = "serde")]
mod serde_forms;
mod time;
pub mod unit;
mod value;
pub mod webhook;

#[cfg(any(test, feature = "proptest"))]
pub mod testing;

pub use customer::{
    Blocker, ClosingTerms, CommandError, Customer, CustomerPatch, CustomerSnapshot, Impossible, Invalid, Moment, Name,
    NamePatch, NewCustomer, Outcome, Patch, Refusal, Rule, Status, Transition,
};
pub use event::{Change, CustomerEvent, EventKind, Field, FieldKind, Value};
pub use time::{Date, DateError, Timestamp, TimestampError};
pub use unit::{Actor, Answer, Audit, Basis, CustomerChange, Fingerprint, Receipt, ReceiptKey, RequestId, Unit};
pub use value::{
    AccountNo, ClientType, ClosureReasonId, CompanyNumber, CustomerId, EmailAddress, EmailError, ExternalId,
    ExternalIdError, FullName, GenderId, IdError, LegalFormId, LoanId, MobileNumber, NamePart, OfficeId, OfficeName,
    OrganizationId, Sequence, TextError, Version,
};
