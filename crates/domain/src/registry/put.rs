//! The use cases that put a customer as a caller has it: an update that tells whether it changed anything, and an upsert,
//! which creates the customer where there is none. Must not know any wire form.

use super::{
    Caller, Changes, Command, Creation, CustomerView, OfficeChoice, Operation, OperationError, Plan, Registry, apply,
};
use crate::ports::Selector;
use crate::{
    Answer, ClientType, Customer, CustomerPatch, Date, ExternalId, Field, GenderId, LegalFormId, Moment, NewCustomer,
    OfficeId, Status, Transition,
};

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The customer came into being.
    Created,
    /// It changed.
    Updated,
    /// It was so already: no version, no event.
    Unchanged,
}

impl Effect {
    /// The name by which callers know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }

    const fn of(changes: &Changes) -> Self {
        if changes.customers.is_empty() { Self::Unchanged } else { Self::Updated }
    }
}

/// A customer that was put, and what that did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutView {
    /// The customer as it is now.
    pub view: CustomerView,
    /// What the put did.
    pub effect: Effect,
}

/// How a customer begins, as far as a caller says: what no update changes. Of a customer that is there it has to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beginnings {
    /// The office.
    pub office: Option<OfficeId>,
    /// Code for gender.
    pub gender: Option<GenderId>,
    /// Person or entity.
    pub client_type: Option<ClientType>,
    /// Code for the legal form.
    pub legal_form: Option<LegalFormId>,
    /// When it applied.
    pub submitted: Option<Date>,
    /// Whether it is Active.
    pub active: Option<bool>,
    /// Since when it is Active.
    pub activated: Option<Date>,
}

impl Beginnings {
    /// The fields that are otherwise for that customer, in the order of [`Field::ALL`].
    #[must_use]
    pub fn untrue_of(&self, customer: &Customer) -> Vec<Field> {
        fn differs<T: Copy + PartialEq>(wanted: Option<T>, present: Option<T>) -> bool {
            wanted.is_some() && wanted != present
        }
        let state = customer.snapshot();
        let fields = [
            (Field::Status, differs(self.active, Some(customer.status() == Status::Active))),
            (Field::Office, differs(self.office, Some(customer.office()))),
            (Field::Gender, differs(self.gender, state.gender)),
            (Field::ClientType, differs(self.client_type, state.client_type)),
            (Field::LegalForm, differs(self.legal_form, state.legal_form)),
            (Field::Submitted, differs(self.submitted, Some(customer.submitted_on()))),
            (Field::Activation, differs(self.activated, customer.activated_on())),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}

struct Putting<'a> {
    selector: &'a Selector,
    command: Command,
}

impl Operation for Putting<'_> {
    type Shown = PutView;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<PutView>, OperationError> {
        registry.check_before_loading(caller.organization, &self.command, moment).await?;
        let before = registry.load(caller, self.selector).await?;
        registry.plan_put(before, &self.command, moment).await
    }
}

/// What an upsert asks for. What cannot be read for one of both cases is refused in that case alone, as
/// [`OperationError::Unfit`].
pub struct Upsert<'a, D> {
    /// The customer.
    pub external_id: &'a ExternalId,
    /// Where there is none: its office, and how it begins.
    pub creation: Option<(OfficeChoice, D)>,
    /// Where there is one: what changes, and what has to be true of it.
    pub update: Option<(CustomerPatch, Beginnings)>,
}

impl<D: Fn(Moment) -> NewCustomer + Send + Sync> Upsert<'_, D> {
    async fn create(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<PutView>, OperationError> {
        let (office, draft) = self.creation.as_ref().ok_or(OperationError::Unfit { exists: false })?;
        let Plan { changes, shown } = Creation { office: *office, draft }.plan(registry, caller, moment).await?;
        caller.precondition.check(None)?;
        Ok(Plan { changes, shown: PutView { view: shown, effect: Effect::Created } })
    }

    async fn update(
        &self,
        registry: &Registry,
        caller: &Caller,
        customer: Customer,
        moment: Moment,
    ) -> Result<Plan<PutView>, OperationError> {
        let (patch, beginnings) = self.update.as_ref().ok_or(OperationError::Unfit { exists: true })?;
        let command = Command::Update(patch.clone());
        registry.check_before_loading(caller.organization, &command, moment).await?;
        caller.precondition.check(Some(customer.version()))?;
        let untrue = beginnings.untrue_of(&customer);
        if untrue.is_empty() && customer.holds(patch) {
            let view = registry.viewed(customer).await?;
            return Ok(Plan { changes: Changes::default(), shown: PutView { view, effect: Effect::Unchanged } });
        }
        customer.permit(Transition::Update)?;
        if !untrue.is_empty() {
            return Err(OperationError::Unchangeable(untrue));
        }
        // The store would say so too, but an upsert takes that for another creation of the same customer.
        if let Some(wanted) = &patch.external_id {
            let owner = registry.find(caller.organization, Selector::ExternalId(wanted.clone())).await?;
            if owner.is_some_and(|owner| owner.id() != customer.id()) {
                return Err(OperationError::ExternalIdTaken);
            }
        }
        registry.plan_put(customer, &command, moment).await
    }
}

impl<D: Fn(Moment) -> NewCustomer + Send + Sync> Operation for Upsert<'_, D> {
    type Shown = PutView;

    // Of many that create the same customer at once, one does, and the others find it.
    const MEETS_TAKEN_IDS: bool = true;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<PutView>, OperationError> {
        let selector = Selector::ExternalId(self.external_id.clone());
        match registry.find(caller.organization, selector).await? {
            Some(customer) => self.update(registry, caller, customer, moment).await,
            None => self.create(registry, caller, moment).await,
        }
    }
}

impl Registry {
    /// Changes a customer's details, and tells whether anything was to change.
    pub async fn put<R>(&self, caller: &Caller, selector: &Selector, patch: CustomerPatch, render: R) -> Answer
    where
        R: Fn(Result<&PutView, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Putting { selector, command: Command::Update(patch) }, render).await
    }

    /// Creates a customer, or changes the one that is there; of many callers at once, one creates it. With
    /// [`Precondition::Absent`](super::Precondition::Absent) it only creates, with the others only changes.
    pub async fn upsert<D, R>(&self, caller: &Caller, upsert: &Upsert<'_, D>, render: R) -> Answer
    where
        D: Fn(Moment) -> NewCustomer + Send + Sync,
        R: Fn(Result<&PutView, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, upsert, render).await
    }

    async fn plan_put(
        &self,
        before: Customer,
        command: &Command,
        moment: Moment,
    ) -> Result<Plan<PutView>, OperationError> {
        let (changes, customer) = apply(before, command, moment)?;
        let changes = Changes::of_customers(changes);
        let (view, effect) = (self.viewed(customer).await?, Effect::of(&changes));
        Ok(Plan { changes, shown: PutView { view, effect } })
    }
}
