-- Organizations, their reference data, customers with events and receipts, accounts, loans and credentials.
-- Amounts are millionths, dates days since 1970-01-01, instants microseconds since 1970-01-01T00:00:00Z.
-- Text is compared byte for byte.

create table organizations (
    id integer not null primary key check (id > 0),
    name text not null,
    default_office_id integer not null,
    next_customer_id integer not null check (next_customer_id > 0),
    next_company_id integer not null check (next_company_id > 0),
    next_loan_id integer not null check (next_loan_id > 0),
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

create table companies (
    organization_id integer not null references organizations (id),
    number integer not null check (number > 0),
    company_id text not null,
    name text not null,
    status text not null,
    description text,
    industry text,
    website text,
    phone text,
    address text,
    created_at integer not null,
    primary key (organization_id, number)
) strict, without rowid;

create unique index companies_public_id on companies (organization_id, company_id);

create table portfolios (
    organization_id integer not null references organizations (id),
    id text not null,
    name text not null,
    reward_unit text not null,
    created_at integer not null,
    primary key (organization_id, id)
) strict, without rowid;

-- The facets are one JSON object of field values, null where there are none; source and company_id repeat two of them
-- for filters. The loan counts are moved by the changes of loans alone.
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
    source text,
    company_id integer,
    facets text,
    open_loans integer not null default 0,
    loan_count integer not null default 0,
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
    constraint updated_after_created check (updated_at >= created_at),
    constraint open_loans_among_all check (open_loans between 0 and loan_count)
) strict, without rowid;

create unique index customers_external_id on customers (organization_id, external_id) where external_id is not null;
create index customers_by_name on customers (organization_id, sort_name, id);
create index customers_by_submission on customers (organization_id, submitted_on, id);
create index customers_by_activation on customers (organization_id, activated_on, id);
create index customers_by_status on customers (organization_id, status, id);
create index customers_by_office on customers (organization_id, office_id, id);
create index customers_by_creation on customers (organization_id, created_at, id);
create index customers_by_change on customers (organization_id, updated_at, id);
create index customers_by_email on customers (organization_id, email, id);
create index customers_by_source on customers (organization_id, source, id) where source is not null;
create index customers_by_company on customers (organization_id, company_id, id) where company_id is not null;

-- The words by which each customer is found; a search is a range of prefixes. Without a foreign key to customers,
-- which would need a second index to delete by.
create table customer_words (
    organization_id integer not null,
    word text not null,
    customer_id integer not null,
    primary key (organization_id, word, customer_id)
) strict, without rowid;

-- The log of an organization: events of customers and, with a subject, of the records beside them. Without a foreign
-- key to customers: events outlive a deleted customer.
create table customer_events (
    organization_id integer not null references organizations (id),
    stream integer not null,
    sequence integer not null check (sequence > 0),
    subject text,
    customer_id integer,
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
    constraint of_a_record_or_a_customer check (subject is not null or customer_id is not null)
) strict;

create unique index customer_events_by_version on customer_events (organization_id, customer_id, version)
    where subject is null;
create index record_events_by_customer on customer_events (organization_id, customer_id, stream, sequence)
    where subject is not null and customer_id is not null;

-- Accounts are tied to their holders by external ids, whether or not there are such customers.
create table accounts (
    organization_id integer not null references organizations (id),
    id text not null,
    version integer not null check (version > 0),
    primary_holder text not null,
    status text not null,
    kind text not null,
    portfolio text not null,
    opened_at integer not null,
    closed_at integer,
    cards text not null,
    updated_at integer not null,
    primary key (organization_id, id)
) strict, without rowid;

create table account_holders (
    organization_id integer not null,
    holder text not null,
    account_id text not null,
    primary key (organization_id, holder, account_id),
    foreign key (organization_id, account_id) references accounts (organization_id, id)
) strict, without rowid;

create index account_holders_by_account on account_holders (organization_id, account_id, holder);

create table loans (
    organization_id integer not null,
    id integer not null check (id > 0),
    external_id text not null,
    customer_id integer not null,
    version integer not null check (version > 0),
    status text not null,
    principal integer not null check (principal >= 0),
    total_outstanding integer,
    total_paid integer,
    expected_disbursement_on integer,
    position text not null,
    updated_at integer not null,
    primary key (organization_id, id),
    foreign key (organization_id, customer_id) references customers (organization_id, id)
) strict, without rowid;

create unique index loans_external_id on loans (organization_id, external_id);
create index loans_by_customer on loans (organization_id, customer_id, id);
create index loans_by_status on loans (organization_id, status, id);
create index loans_by_principal on loans (organization_id, principal, id);
create index loans_by_disbursement on loans (organization_id, expected_disbursement_on, id);

-- Scores are reported by external id, whether or not there is such a customer.
create table credit_scores (
    organization_id integer not null references organizations (id),
    external_id text not null,
    grade text not null,
    score integer not null check (score between 0 and 1000),
    credit_limit integer not null check (credit_limit >= 0),
    updated_at integer not null,
    primary key (organization_id, external_id)
) strict, without rowid;

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
