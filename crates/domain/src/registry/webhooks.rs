//! The use cases of webhook endpoints and their deliveries. Must not know any wire form, nor how anything is sent.

use std::time::Duration;

use super::{Caller, Changes, Operation, OperationError, Plan, Registry};
use crate::ports::StoreError;
use crate::unit::WebhookChange;
use crate::webhook::{
    DeliveryQuery, DeliveryRecord, DisableCause, ENDPOINTS_LIMIT, NewWebhook, Replay, Replayed, WebhookEndpoint,
    WebhookId, WebhookPatch, WebhookRefusal, WebhookSecret,
};
use crate::{Answer, Moment, OrganizationId, Outcome, Sequence};

/// What a caller wants done to one endpoint.
enum Step<'a> {
    Update(&'a WebhookPatch),
    Rotate(Duration),
    Disable(DisableCause),
    Delete,
}

struct Addition<'a>(&'a NewWebhook);

impl Operation for Addition<'_> {
    type Shown = WebhookEndpoint;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<WebhookEndpoint>, OperationError> {
        if registry.ports.webhooks.endpoints(caller.organization).await?.len() >= ENDPOINTS_LIMIT {
            return Err(WebhookRefusal::TooMany.into());
        }
        let id = WebhookId::from_random(registry.ports.ids.random());
        let (endpoint, event) =
            WebhookEndpoint::create(caller.organization, id, registry.new_secret(), self.0.clone(), moment);
        let change = WebhookChange::kept(endpoint.clone(), event);
        Ok(Plan { changes: Changes { webhooks: vec![change], ..Changes::default() }, shown: endpoint })
    }
}

struct OnEndpoint<'a> {
    id: WebhookId,
    step: Step<'a>,
}

impl Operation for OnEndpoint<'_> {
    type Shown = WebhookEndpoint;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<WebhookEndpoint>, OperationError> {
        let mut endpoint = registry.wanted_webhook(caller, self.id).await?;
        let outcome = match &self.step {
            Step::Update(patch) => endpoint.update(patch, moment),
            Step::Rotate(overlap) => endpoint.rotate(registry.new_secret(), *overlap, moment),
            Step::Disable(cause) => endpoint.disable(*cause, moment),
            Step::Delete => {
                let change = WebhookChange::gone(endpoint.clone(), moment);
                return Ok(Plan { changes: Changes { webhooks: vec![change], ..Changes::default() }, shown: endpoint });
            }
        };
        let webhooks = match outcome {
            Outcome::Applied(event) => vec![WebhookChange::kept(endpoint.clone(), event)],
            Outcome::Unchanged => Vec::new(),
        };
        Ok(Plan { changes: Changes { webhooks, ..Changes::default() }, shown: endpoint })
    }
}

struct Again {
    endpoint: WebhookId,
    from: Sequence,
    to: Sequence,
}

impl Operation for Again {
    type Shown = Replayed;

    /// Replays at once and leaves the receipt alone to be committed: a retry after a crash between the two replays once
    /// more, which receivers bear as they bear any delivery that comes twice.
    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<Replayed>, OperationError> {
        registry.wanted_webhook(caller, self.endpoint).await?;
        let (organization, endpoint) = (caller.organization, self.endpoint);
        let replay = Replay { organization, endpoint, from: self.from, to: self.to, now: moment.at };
        let shown = registry.ports.webhooks.replay(&replay).await?.ok_or(OperationError::NotFound)?;
        Ok(Plan { changes: Changes::default(), shown })
    }
}

struct Trial<F> {
    endpoint: WebhookId,
    send: F,
}

impl<F, T, S> Operation for Trial<F>
where
    F: Fn(WebhookEndpoint, u128, Moment) -> S + Sync,
    S: Future<Output = T> + Send,
    T: Send,
{
    type Shown = T;

    /// Sends at once and leaves the receipt alone to be committed, as [`Again`] does.
    async fn plan(&self, registry: &Registry, caller: &Caller, moment: Moment) -> Result<Plan<T>, OperationError> {
        let endpoint = registry.wanted_webhook(caller, self.endpoint).await?;
        let shown = (self.send)(endpoint, registry.ports.ids.random(), moment).await;
        Ok(Plan { changes: Changes::default(), shown })
    }
}

impl Registry {
    /// The endpoint that a caller wants something done to, if it is at the version that the caller wants.
    async fn wanted_webhook(&self, caller: &Caller, id: WebhookId) -> Result<WebhookEndpoint, OperationError> {
        let found = self.ports.webhooks.endpoint(caller.organization, id).await?;
        let endpoint = found.ok_or(OperationError::NotFound)?;
        caller.precondition.check(Some(endpoint.version()))?;
        Ok(endpoint)
    }

    /// Tries an endpoint, enabled or not: `send` is given the endpoint and random bits for an id, and its outcome is
    /// what the answer shows. Nothing is changed; a retry under the same key is answered as before and sends nothing.
    pub async fn ping_webhook<F, S, T, R>(&self, caller: &Caller, id: WebhookId, send: F, render: R) -> Answer
    where
        F: Fn(WebhookEndpoint, u128, Moment) -> S + Send + Sync,
        S: Future<Output = T> + Send,
        T: Send,
        R: Fn(Result<&T, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Trial { endpoint: id, send }, render).await
    }

    /// Creates an endpoint with a new secret; it is sent the events that follow its creation.
    pub async fn create_webhook<R>(&self, caller: &Caller, new: &NewWebhook, render: R) -> Answer
    where
        R: Fn(Result<&WebhookEndpoint, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Addition(new), render).await
    }

    /// Changes what the patch names.
    pub async fn update_webhook<R>(&self, caller: &Caller, id: WebhookId, patch: &WebhookPatch, render: R) -> Answer
    where
        R: Fn(Result<&WebhookEndpoint, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &OnEndpoint { id, step: Step::Update(patch) }, render).await
    }

    /// Gives an endpoint a new secret; the present one signs too for so long.
    pub async fn rotate_webhook<R>(&self, caller: &Caller, id: WebhookId, overlap: Duration, render: R) -> Answer
    where
        R: Fn(Result<&WebhookEndpoint, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &OnEndpoint { id, step: Step::Rotate(overlap) }, render).await
    }

    /// Disables an endpoint, as its answer of 410 does; unchanged where it is disabled already.
    pub async fn disable_webhook<R>(&self, caller: &Caller, id: WebhookId, cause: DisableCause, render: R) -> Answer
    where
        R: Fn(Result<&WebhookEndpoint, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &OnEndpoint { id, step: Step::Disable(cause) }, render).await
    }

    /// Takes an endpoint out with all that is to be delivered to it; the endpoint shown is the one before.
    pub async fn delete_webhook<R>(&self, caller: &Caller, id: WebhookId, render: R) -> Answer
    where
        R: Fn(Result<&WebhookEndpoint, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &OnEndpoint { id, step: Step::Delete }, render).await
    }

    /// Delivers the wanted events from one sequence to another (the same for a single one) once more; see
    /// [`crate::ports::WebhookStore::replay`].
    pub async fn replay_webhook<R>(
        &self,
        caller: &Caller,
        endpoint: WebhookId,
        from: Sequence,
        to: Sequence,
        render: R,
    ) -> Answer
    where
        R: Fn(Result<&Replayed, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Again { endpoint, from, to }, render).await
    }

    /// An organization's endpoints, by their creation.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn webhooks(&self, organization: OrganizationId) -> Result<Vec<WebhookEndpoint>, StoreError> {
        self.ports.webhooks.endpoints(organization).await
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn webhook(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<WebhookEndpoint>, StoreError> {
        self.ports.webhooks.endpoint(organization, id).await
    }

    /// The deliveries of an endpoint with their logs, newest event first; `None` where there is no such endpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Option<Vec<DeliveryRecord>>, StoreError> {
        match self.webhook(query.organization, query.endpoint).await? {
            Some(_) => self.ports.webhooks.deliveries(query).await.map(Some),
            None => Ok(None),
        }
    }

    fn new_secret(&self) -> WebhookSecret {
        WebhookSecret::from_random(self.ports.ids.random(), self.ports.ids.random())
    }
}
