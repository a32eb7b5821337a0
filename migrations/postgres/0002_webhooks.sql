-- Webhook endpoints, what is to be delivered to each, and who delivers it.

create table webhook_endpoints (
    organization_id bigint not null,
    id text collate "C" not null,
    -- How many changes it has had.
    version bigint not null,
    url text not null,
    -- The names of the events it wants; all where empty.
    kinds text[] collate "C" not null,
    payload text collate "C" not null,
    description text,
    secret bytea,
    previous_secret bytea,
    previous_until timestamptz,
    disabled_at timestamptz,
    disabled_because text collate "C",
    -- Up to which event its deliveries are enqueued.
    position bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- A deleted endpoint has lost its secrets and stays until its deliveries are gone, batch by batch.
    deleted_at timestamptz,
    constraint webhook_endpoints_pkey primary key (organization_id, id),
    constraint webhook_endpoints_organization_fkey foreign key (organization_id) references organizations (id),
    constraint webhook_endpoints_numbers_check check (version > 0 and position > 0),
    constraint webhook_endpoints_payload_check check (payload in ('thin', 'full')),
    constraint webhook_endpoints_secret_check
        check ((secret is null) = (deleted_at is not null) and length(secret) = 32 and length(previous_secret) = 32),
    constraint webhook_endpoints_previous_check
        check ((previous_secret is null) = (previous_until is null) and (previous_secret is null or secret is not null)),
    constraint webhook_endpoints_disabled_check check ((disabled_at is null) = (disabled_because is null)),
    constraint webhook_endpoints_times_check check (updated_at >= created_at)
);

create table webhook_deliveries (
    organization_id bigint not null,
    endpoint_id text collate "C" not null,
    -- The event's.
    sequence bigint not null,
    -- What is delivered in order: the endpoint, and one customer or one other subject of its events.
    lane text collate "C" not null,
    state text collate "C" not null,
    -- Not before then it is tried; or when it ended.
    at timestamptz not null,
    -- Since it was enqueued or last replayed.
    attempts smallint not null,
    -- Whether it is the first pending one of its lane: no other is ever due. Whoever changes it holds the lease's row.
    is_head boolean not null,
    constraint webhook_deliveries_endpoint_fkey
        foreign key (organization_id, endpoint_id) references webhook_endpoints (organization_id, id),
    constraint webhook_deliveries_state_check check (state in ('pending', 'delivered', 'parked')),
    constraint webhook_deliveries_head_check check (state = 'pending' or not is_head),
    constraint webhook_deliveries_attempts_check check (attempts >= 0)
);

create index webhook_deliveries_state_idx on webhook_deliveries (organization_id, endpoint_id, state, sequence);
create index webhook_deliveries_over_idx on webhook_deliveries (organization_id, at) where state <> 'pending';
create index webhook_deliveries_lane_idx on webhook_deliveries (organization_id, lane, sequence)
    where state = 'pending';
create index webhook_deliveries_due_idx on webhook_deliveries (organization_id, endpoint_id, at, sequence)
    where is_head;
-- Last, as those of customers.
alter table webhook_deliveries
    add constraint webhook_deliveries_pkey primary key (organization_id, endpoint_id, sequence);

-- The log of deliveries. Without a foreign key: it goes with them, in the same statement.
create table webhook_attempts (
    organization_id bigint not null,
    endpoint_id text collate "C" not null,
    sequence bigint not null,
    -- 1, 2, 3, …; a replay goes on counting.
    number bigint not null,
    at timestamptz not null,
    duration_ms bigint not null,
    status smallint,
    failure text collate "C",
    constraint webhook_attempts_pkey primary key (organization_id, endpoint_id, sequence, number),
    constraint webhook_attempts_numbers_check check (number > 0 and duration_ms >= 0),
    constraint webhook_attempts_status_check check (status between 100 and 599)
);

-- One row for each organization that has had an endpoint: who enqueues and settles its deliveries, and until when.
create table webhook_leases (
    organization_id bigint not null,
    owner bytea,
    ends_at timestamptz,
    constraint webhook_leases_pkey primary key (organization_id),
    constraint webhook_leases_organization_fkey foreign key (organization_id) references organizations (id),
    constraint webhook_leases_owner_check check (length(owner) = 16 and (owner is null or ends_at is not null))
);
