-- Webhook endpoints, what is to be delivered to each, and who delivers it. Instants are microseconds, as everywhere.

create table webhook_endpoints (
    organization_id integer not null references organizations (id),
    id text not null,
    version integer not null check (version > 0),
    url text not null,
    -- The names of the events it wants, as a JSON array; all where empty.
    kinds text not null,
    payload text not null check (payload in ('thin', 'full')),
    description text,
    secret blob check (length(secret) = 32),
    previous_secret blob check (length(previous_secret) = 32),
    previous_until integer,
    disabled_at integer,
    disabled_because text,
    -- Up to which event its deliveries are enqueued.
    position integer not null check (position > 0),
    created_at integer not null,
    updated_at integer not null,
    -- A deleted endpoint has lost its secrets and stays until its deliveries are gone, batch by batch.
    deleted_at integer,
    primary key (organization_id, id),
    constraint no_secret_once_deleted check ((secret is null) = (deleted_at is not null)),
    constraint both_or_none_of_previous check (
        (previous_secret is null) = (previous_until is null) and (previous_secret is null or secret is not null)
    ),
    constraint disabled_for_a_reason check ((disabled_at is null) = (disabled_because is null)),
    constraint updated_after_created check (updated_at >= created_at)
) strict, without rowid;

create table webhook_deliveries (
    organization_id integer not null,
    endpoint_id text not null,
    -- The event's.
    sequence integer not null,
    -- What is delivered in order: the events of one customer, or of one other subject.
    lane text not null,
    state text not null check (state in ('pending', 'delivered', 'parked')),
    -- Not before then it is tried; or when it ended.
    at integer not null,
    -- Since it was enqueued or last replayed.
    attempts integer not null check (attempts >= 0),
    -- Whether it is the first pending one of its lane: no other is ever due.
    is_head integer not null check (is_head in (0, 1)),
    primary key (organization_id, endpoint_id, sequence),
    foreign key (organization_id, endpoint_id) references webhook_endpoints (organization_id, id),
    constraint only_pending_ones_lead check (state = 'pending' or not is_head)
) strict, without rowid;

create index webhook_deliveries_by_state on webhook_deliveries (organization_id, endpoint_id, state, sequence);
create index webhook_deliveries_over on webhook_deliveries (organization_id, at) where state <> 'pending';
create index webhook_deliveries_by_lane on webhook_deliveries (organization_id, endpoint_id, lane, sequence)
    where state = 'pending';
create index webhook_deliveries_due on webhook_deliveries (organization_id, endpoint_id, at, sequence)
    where is_head = 1;

-- The log of deliveries; it goes with them.
create table webhook_attempts (
    organization_id integer not null,
    endpoint_id text not null,
    sequence integer not null,
    -- 1, 2, 3, …; a replay goes on counting.
    number integer not null check (number > 0),
    at integer not null,
    duration_ms integer not null check (duration_ms >= 0),
    status integer check (status between 100 and 599),
    failure text,
    primary key (organization_id, endpoint_id, sequence, number)
) strict, without rowid;

-- One row for each organization that has had an endpoint: who enqueues and settles its deliveries, and until when.
create table webhook_leases (
    organization_id integer not null primary key references organizations (id),
    owner blob check (length(owner) = 16),
    ends_at integer,
    constraint an_owner_for_a_time check (owner is null or ends_at is not null)
) strict;
