-- The registry: organizations with what they count, customers, their events and receipts, and credentials.
--
-- organization_id leads every key of what belongs to an organization, so that the schema can be distributed by it
-- as it is. Nothing here decides anything: no trigger, no default, no sequence, no enum; the checks state again what
-- the domain holds anyway. Text that is compared or sorted has the collation "C": byte for byte, on every server.

create table organizations (
    id bigint not null,
    name text not null,
    default_office_id bigint not null,
    -- The number that the next customer gets.
    next_customer_id bigint not null,
    -- The same of companies and loans.
    next_company_id bigint not null,
    next_loan_id bigint not null,
    -- The last sequence that was given to an event; 0 before the first. Every commit begins by moving it, which
    -- puts the commits of an organization in one order.
    next_sequence bigint not null,
    customer_count bigint not null,
    created_at timestamptz not null,
    constraint organizations_pkey primary key (id),
    constraint organizations_id_check check (id > 0),
    constraint organizations_counters_check
        check (next_customer_id > 0 and next_company_id > 0 and next_loan_id > 0 and next_sequence >= 0
            and customer_count >= 0)
) with (fillfactor = 20);

create table offices (
    organization_id bigint not null,
    id bigint not null,
    name text collate "C" not null,
    created_at timestamptz not null,
    constraint offices_pkey primary key (organization_id, id),
    constraint offices_name_key unique (organization_id, name),
    constraint offices_organization_fkey foreign key (organization_id) references organizations (id),
    constraint offices_id_check check (id > 0)
);

create table closure_reasons (
    organization_id bigint not null,
    code bigint not null,
    label text not null,
    created_at timestamptz not null,
    constraint closure_reasons_pkey primary key (organization_id, code),
    constraint closure_reasons_organization_fkey foreign key (organization_id) references organizations (id),
    constraint closure_reasons_code_check check (code > 0)
);

create table companies (
    organization_id bigint not null,
    number bigint not null,
    -- The public id, such as CMP-0A1B2C3D.
    company_id text collate "C" not null,
    name text not null,
    status text collate "C" not null,
    description text,
    industry text,
    website text,
    phone text,
    address text,
    created_at timestamptz not null,
    constraint companies_pkey primary key (organization_id, number),
    constraint companies_company_id_key unique (organization_id, company_id),
    constraint companies_organization_fkey foreign key (organization_id) references organizations (id),
    constraint companies_number_check check (number > 0)
);

create table portfolios (
    organization_id bigint not null,
    id text collate "C" not null,
    name text not null,
    reward_unit text not null,
    created_at timestamptz not null,
    constraint portfolios_pkey primary key (organization_id, id),
    constraint portfolios_organization_fkey foreign key (organization_id) references organizations (id)
);

create table customers (
    organization_id bigint not null,
    id bigint not null,
    -- How many changes it has had.
    version bigint not null,
    external_id text collate "C",
    -- No foreign key, which costs as much as a third of the indexes: the statement that creates a customer looks its office
    -- up, and no office ever goes.
    office_id bigint not null,
    status text collate "C" not null,
    submitted_on date not null,
    activated_on date,
    closed_on date,
    closure_reason_id bigint,
    first_name text,
    middle_name text,
    last_name text,
    full_name text,
    -- The display name with case and accents folded away.
    sort_name text collate "C" not null,
    mobile_no text,
    email text collate "C",
    born_on date,
    gender_id bigint,
    client_type_id smallint,
    legal_form_id bigint,
    -- Two of the facets' values once more, for filters.
    source text collate "C",
    company_id bigint,
    -- What intake and programme know of it, by field; null where they know nothing.
    facets json,
    -- Moved by the changes of its loans alone; what closes or deletes it looks at them.
    open_loans bigint not null,
    loan_count bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- The words by which it is found, each behind the number of its organization: `7/ada`.
    search tsvector not null,
    constraint customers_numbers_check check (id > 0 and version > 0),
    constraint customers_lifecycle_check check (
        case status
            when 'Pending' then activated_on is null and closed_on is null and closure_reason_id is null
            when 'Active' then activated_on is not null and activated_on >= submitted_on
                and closed_on is null and closure_reason_id is null
            when 'Closed' then activated_on is not null and activated_on >= submitted_on
                and closed_on is not null and closed_on >= activated_on and closure_reason_id is not null
            else false
        end),
    constraint customers_name_check check (
        case
            when full_name is not null then first_name is null and middle_name is null and last_name is null
            when first_name is not null then last_name is not null
            else middle_name is null and last_name is null and external_id is not null
        end),
    constraint customers_client_type_check check (client_type_id in (1, 2)),
    constraint customers_loans_check check (open_loans >= 0 and open_loans <= loan_count),
    constraint customers_times_check check (updated_at >= created_at)
);

create index customers_sort_name_idx on customers (organization_id, sort_name, id);
create index customers_submitted_on_idx on customers (organization_id, submitted_on, id);
create index customers_activated_on_idx on customers (organization_id, activated_on, id);
create index customers_status_idx on customers (organization_id, status, id);
create index customers_office_idx on customers (organization_id, office_id, id);
create index customers_created_at_idx on customers (organization_id, created_at, id);
create index customers_updated_at_idx on customers (organization_id, updated_at, id);
create index customers_email_idx on customers (organization_id, email, id);
create index customers_source_idx on customers (organization_id, source, id) where source is not null;
create index customers_company_id_idx on customers (organization_id, company_id, id) where company_id is not null;
-- The one index that does not begin with the organization's number: its words do.
create index customers_search_idx on customers using gin (search);
-- The keys come last: of indexes that seem to serve alike the planner takes the youngest, and until somebody has counted
-- the rows, all that begin with the organization do. The condition keeps the last one out of searches by number.
alter table customers add constraint customers_pkey primary key (organization_id, id);
create unique index customers_external_id_key on customers (organization_id, external_id)
    where external_id is not null;

-- The log of an organization: the events of its customers and, with a subject, of the records beside them.
create table customer_events (
    organization_id bigint not null,
    -- 0; a way out for an organization that outgrows one order of commits.
    stream smallint not null,
    sequence bigint not null,
    -- The record's own key; null where the customer itself changed.
    subject text collate "C",
    -- Not a foreign key: the events of a deleted customer stay.
    customer_id bigint,
    version bigint not null,
    kind text collate "C" not null,
    external_id text collate "C",
    at timestamptz not null,
    actor text not null,
    request_id text not null,
    idempotency_key text,
    reason text,
    changed json not null,
    constraint customer_events_pkey primary key (organization_id, stream, sequence),
    constraint customer_events_owner_check check (subject is not null or customer_id is not null),
    constraint customer_events_numbers_check check (sequence > 0 and version > 0)
);

-- Numbers of customers are never used again, so a version is there once even after a deletion.
create unique index customer_events_version_key on customer_events (organization_id, customer_id, version)
    where subject is null;
create index customer_events_records_idx on customer_events (organization_id, customer_id, sequence)
    where subject is not null and customer_id is not null;

-- Accounts are tied to their holders by external ids, whether or not there are such customers.
create table accounts (
    organization_id bigint not null,
    id text collate "C" not null,
    -- How many changes it has had.
    version bigint not null,
    primary_holder text collate "C" not null,
    status text collate "C" not null,
    kind text collate "C" not null,
    portfolio text collate "C" not null,
    opened_at timestamptz not null,
    closed_at timestamptz,
    cards text not null,
    updated_at timestamptz not null,
    constraint accounts_pkey primary key (organization_id, id),
    constraint accounts_version_check check (version > 0)
);

create table account_holders (
    organization_id bigint not null,
    holder text collate "C" not null,
    account_id text collate "C" not null,
    -- No foreign key: the statement that writes holders writes their accounts, or nothing.
    constraint account_holders_pkey primary key (organization_id, holder, account_id)
);

create index account_holders_account_idx on account_holders (organization_id, account_id);

-- Loans as an engine reports them. Amounts are millionths.
create table loans (
    organization_id bigint not null,
    id bigint not null,
    -- The engine's own key.
    external_id text collate "C" not null,
    customer_id bigint not null,
    -- How many changes it has had.
    version bigint not null,
    status text collate "C" not null,
    principal bigint not null,
    total_outstanding bigint,
    total_paid bigint,
    expected_disbursement_on date,
    -- All that was reported, by name; the columns before repeat what lists and sums need.
    position text not null,
    updated_at timestamptz not null,
    constraint loans_customer_fkey foreign key (organization_id, customer_id) references customers (organization_id, id),
    constraint loans_numbers_check check (id > 0 and version > 0 and principal >= 0)
);

create index loans_customer_idx on loans (organization_id, customer_id, id);
create index loans_status_idx on loans (organization_id, status, id);
create index loans_principal_idx on loans (organization_id, principal, id);
create index loans_expected_disbursement_on_idx on loans (organization_id, expected_disbursement_on, id);
-- Last, as those of customers.
alter table loans add constraint loans_pkey primary key (organization_id, id);
create unique index loans_external_id_key on loans (organization_id, external_id) where external_id is not null;

-- Scores are reported by external id, whether or not there is such a customer. The limit is in millionths.
create table credit_scores (
    organization_id bigint not null,
    external_id text collate "C" not null,
    grade text collate "C" not null,
    score smallint not null,
    credit_limit bigint not null,
    updated_at timestamptz not null,
    constraint credit_scores_pkey primary key (organization_id, external_id),
    constraint credit_scores_score_check check (score between 0 and 1000),
    constraint credit_scores_limit_check check (credit_limit >= 0)
);

create table receipts (
    organization_id bigint not null,
    key bytea not null,
    fingerprint bytea not null,
    at timestamptz not null,
    status smallint not null,
    headers json not null,
    body bytea not null,
    constraint receipts_lengths_check check (length(key) = 32 and length(fingerprint) = 32),
    constraint receipts_status_check check (status between 100 and 599)
);

create index receipts_at_idx on receipts (organization_id, at);
-- Last, as those of customers.
alter table receipts add constraint receipts_pkey primary key (organization_id, key);

-- Global: a caller is known before its organization is.
create table api_keys (
    id bigint not null,
    organization_id bigint not null,
    name text not null,
    hash bytea not null,
    scope text collate "C" not null,
    created_at timestamptz not null,
    revoked_at timestamptz,
    constraint api_keys_pkey primary key (id),
    constraint api_keys_hash_key unique (hash),
    constraint api_keys_organization_fkey foreign key (organization_id) references organizations (id),
    constraint api_keys_hash_check check (length(hash) = 32),
    constraint api_keys_scope_check check (scope in ('read', 'write'))
);

create index api_keys_organization_idx on api_keys (organization_id, id);

-- Global, for the same reason. The address is in lower case.
create table partner_accounts (
    id bigint not null,
    organization_id bigint not null,
    email text collate "C" not null,
    password_hash text not null,
    created_at timestamptz not null,
    constraint partner_accounts_pkey primary key (id),
    constraint partner_accounts_email_key unique (email),
    constraint partner_accounts_organization_fkey foreign key (organization_id) references organizations (id)
);
