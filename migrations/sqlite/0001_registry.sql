-- Organizations, their reference data, customers with events and receipts, and credentials.
-- Dates are days since 1970-01-01, instants microseconds since 1970-01-01T00:00:00Z. Text is compared byte for byte.

create table organizations (
    id integer not null primary key check (id > 0),
    name text not null,
    default_office_id integer not null,
    next_customer_id integer not null check (next_customer_id > 0),
    next_sequence integer not null check (next_sequence > 0),
    customer_count integer not null,
    created_at integer not null
) strict;

create table offices (
    organization_id integer not null references organizations (id),
    id integer not null check (id > 0),
    name text not null,
    created_at integer not null,
    primary key (organization_id, id),
    unique (organization_id, name)
) strict, without rowid;

create table closure_reasons (
    organization_id integer not null references organizations (id),
    code integer not null check (code > 0),
    label text not null,
    created_at integer not null,
    primary key (organization_id, code)
) strict, without rowid;

create table customers (
    organization_id integer not null,
    id integer not null check (id > 0),
    version integer not null check (version > 0),
    external_id text,
    office_id integer not null,
    status text not null,
    submitted_on integer not null,
    activated_on integer,
    closed_on integer,
    closure_reason_id integer,
    first_name text,
    middle_name text,
    last_name text,
    full_name text,
    sort_name text not null,
    mobile_no text,
    email text,
    born_on integer,
    gender_id integer,
    client_type_id integer check (client_type_id in (1, 2)),
    legal_form_id integer,
    created_at integer not null,
    updated_at integer not null,
    primary key (organization_id, id),
    foreign key (organization_id, office_id) references offices (organization_id, id),
    constraint status_and_its_dates check (
        case status
            when 'Pending' then activated_on is null and closed_on is null and closure_reason_id is null
            when 'Active' then activated_on >= submitted_on and closed_on is null and closure_reason_id is null
            when 'Closed' then activated_on >= submitted_on and closed_on >= activated_on
                and closure_reason_id is not null
            else false
        end is true
    ),
    constraint one_form_of_name check (
        case
            when full_name is not null then first_name is null and middle_name is null and last_name is null
            when first_name is not null then last_name is not null
            else middle_name is null and last_name is null and external_id is not null
        end
    ),
    constraint updated_after_created check (updated_at >= created_at)
) strict, without rowid;

create unique index customers_external_id on customers (organization_id, external_id) where external_id is not null;
create index customers_by_name on customers (organization_id, sort_name, id);
create index customers_by_submission on customers (organization_id, submitted_on, id);
create index customers_by_activation on customers (organization_id, activated_on, id);
create index customers_by_status on customers (organization_id, status, id);
create index customers_by_office on customers (organization_id, office_id, id);

-- The words by which each customer is found; a search is a range of prefixes. Without a foreign key to customers,
-- which would need a second index to delete by.
create table customer_words (
    organization_id integer not null,
    word text not null,
    customer_id integer not null,
    primary key (organization_id, word, customer_id)
) strict, without rowid;

-- Without a foreign key to customers: events outlive a deleted customer.
create table customer_events (
    organization_id integer not null references organizations (id),
    stream integer not null,
    sequence integer not null check (sequence > 0),
    customer_id integer not null,
    version integer not null check (version > 0),
    kind text not null,
    external_id text,
    at integer not null,
    actor text not null,
    request_id text not null,
    idempotency_key text,
    reason text,
    changed text not null,
    primary key (organization_id, stream, sequence),
    unique (organization_id, customer_id, version)
) strict;

create table receipts (
    organization_id integer not null references organizations (id),
    key blob not null check (length(key) = 32),
    fingerprint blob not null check (length(fingerprint) = 32),
    at integer not null,
    status integer not null check (status between 100 and 599),
    headers text not null,
    body blob not null,
    primary key (organization_id, key)
) strict;

create index receipts_by_age on receipts (at);

-- Across organizations: a caller is known before its organization is.
create table api_keys (
    id integer not null primary key check (id > 0),
    organization_id integer not null references organizations (id),
    name text not null,
    hash blob not null unique check (length(hash) = 32),
    scope text not null check (scope in ('read', 'write')),
    created_at integer not null,
    revoked_at integer
) strict;

create index api_keys_by_organization on api_keys (organization_id, id);

create table partner_accounts (
    id integer not null primary key check (id > 0),
    organization_id integer not null references organizations (id),
    email text not null unique,
    password_hash text not null,
    created_at integer not null
) strict;
