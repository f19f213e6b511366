-- The directory: who may ask for tickets, and whom a ticket names.
--
-- Times are milliseconds since the Unix epoch, lifetimes milliseconds, lists
-- JSON arrays of strings. Every row below brand belongs to one brand, and its
-- key begins with it. A revision rises by one with each change of its row.
--
-- The scripts for SQLite and PostgreSQL are the same but for the keys that are
-- numbers and the collation of names: in PostgreSQL the order of names is that
-- of their bytes, as it is in SQLite, whatever the server's locale is.

-- +goose Up

CREATE TABLE brand (
    name                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    region                TEXT    NOT NULL, -- ISO 3166 default region of phone numbers; '': none
    required_agent_fields TEXT    NOT NULL, -- list
    agent_lifetime        BIGINT  NOT NULL, -- 0: the default
    login_addresses       TEXT    NOT NULL, -- comma-separated prefixes; '': any
    agent_sign_in_url     TEXT    NOT NULL, -- has {return}; '': the service's
    sessions_since        BIGINT,           -- sessions begun before are over; NULL: none
    tickets_since         BIGINT,           -- when the name returned: tickets issued before are over; NULL: none
    ticket_login          BOOLEAN,          -- NULL, 0 and '': the default, from here to the end
    one_time              BOOLEAN,
    customer_lifetime     BIGINT  NOT NULL,
    max_lifetime          BIGINT  NOT NULL,
    api_addresses         TEXT    NOT NULL, -- comma-separated prefixes
    confirm               BOOLEAN,
    other_user            TEXT    NOT NULL, -- replace, confirm, refuse
    display_name          TEXT    NOT NULL,
    colour                TEXT    NOT NULL, -- #rrggbb
    language              TEXT    NOT NULL, -- BCP 47
    frame_ancestors       TEXT    NOT NULL, -- list of CSP sources; []: the default
    customer_sign_in_url  TEXT    NOT NULL, -- has {return}
    customer_home         TEXT    NOT NULL, -- path or https URL
    return_origins        TEXT    NOT NULL, -- list
    revision              BIGINT  NOT NULL
);

CREATE TABLE channel (
    brand                TEXT COLLATE "C" NOT NULL REFERENCES brand (name),
    id                   TEXT COLLATE "C" NOT NULL,
    name                 TEXT    NOT NULL,
    record               TEXT    NOT NULL, -- random; another whenever the channel is added
    tickets_since        BIGINT,           -- as a brand's
    ticket_login         BOOLEAN,          -- NULL, 0, '' and []: as the brand, from here to the end
    one_time             BOOLEAN,
    customer_lifetime    BIGINT  NOT NULL,
    max_lifetime         BIGINT  NOT NULL,
    api_addresses        TEXT    NOT NULL,
    confirm              BOOLEAN,
    other_user           TEXT    NOT NULL,
    display_name         TEXT    NOT NULL,
    colour               TEXT    NOT NULL,
    language             TEXT    NOT NULL,
    frame_ancestors      TEXT    NOT NULL,
    customer_sign_in_url TEXT    NOT NULL,
    customer_home        TEXT    NOT NULL,
    return_origins       TEXT    NOT NULL,
    revision             BIGINT  NOT NULL,
    PRIMARY KEY (brand, id)
);

CREATE TABLE agent (
    brand         TEXT COLLATE "C" NOT NULL REFERENCES brand (name),
    username_fold TEXT COLLATE "C" NOT NULL, -- as it is compared
    username      TEXT    NOT NULL, -- as it was given
    email         TEXT    NOT NULL, -- as it was given
    email_fold    TEXT COLLATE "C" NOT NULL, -- as it is searched
    phone1        TEXT COLLATE "C" NOT NULL, -- E.164 with the leading +
    uniqueid      TEXT COLLATE "C" NOT NULL,
    first_name    TEXT    NOT NULL,
    last_name     TEXT    NOT NULL,
    first_fold    TEXT COLLATE "C" NOT NULL, -- as it is searched
    last_fold     TEXT COLLATE "C" NOT NULL, -- as it is searched
    group_names   TEXT    NOT NULL, -- list
    active        BOOLEAN NOT NULL,
    record        TEXT    NOT NULL, -- random; another whenever the agent is added or made active again
    tickets_since BIGINT,           -- as a brand's
    revision      BIGINT  NOT NULL,
    PRIMARY KEY (brand, username_fold)
);
CREATE INDEX agent_email ON agent (brand, email_fold) WHERE email_fold <> '';
CREATE INDEX agent_phone1 ON agent (brand, phone1) WHERE phone1 <> '';
CREATE INDEX agent_uniqueid ON agent (brand, uniqueid) WHERE uniqueid <> '';
CREATE INDEX agent_first ON agent (brand, first_fold, last_fold) WHERE first_fold <> '';
CREATE INDEX agent_last ON agent (brand, last_fold, first_fold) WHERE last_fold <> '';

-- The names that were away: of brands, channels and agents that were removed, and of
-- agents that were made inactive. A row stays for good, also without its brand: when the
-- name returns, the tickets of before are over.
CREATE TABLE departed (
    brand TEXT COLLATE "C" NOT NULL,
    kind  TEXT NOT NULL, -- brand, channel or agent; 'any brand': of all brands, since a restore
    name  TEXT COLLATE "C" NOT NULL, -- as it is compared; '' of a brand
    since BIGINT NOT NULL,
    PRIMARY KEY (brand, kind, name)
);

-- The id of a customer that was removed is never another's: sessions may
-- outlive the record that they name.
CREATE TABLE customer (
    id         BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand      TEXT COLLATE "C" NOT NULL REFERENCES brand (name),
    email      TEXT    NOT NULL, -- as it was given
    email_fold TEXT COLLATE "C" NOT NULL, -- as it is compared
    phone1     TEXT COLLATE "C" NOT NULL, -- E.164 with the leading +
    uniqueid   TEXT COLLATE "C" NOT NULL,
    first_name TEXT    NOT NULL,
    last_name  TEXT    NOT NULL,
    first_fold TEXT COLLATE "C" NOT NULL, -- as it is searched
    last_fold  TEXT COLLATE "C" NOT NULL, -- as it is searched
    remark     TEXT    NOT NULL,
    created    BIGINT  NOT NULL,
    updated    BIGINT  NOT NULL,
    record     TEXT    NOT NULL, -- random
    revision   BIGINT  NOT NULL,
    CHECK (email_fold <> '' OR phone1 <> '' OR uniqueid <> ''),
    CHECK ((email = '') = (email_fold = ''))
);
CREATE UNIQUE INDEX customer_email ON customer (brand, email_fold) WHERE email_fold <> '';
CREATE UNIQUE INDEX customer_phone1 ON customer (brand, phone1) WHERE phone1 <> '';
CREATE UNIQUE INDEX customer_uniqueid ON customer (brand, uniqueid) WHERE uniqueid <> '';
CREATE INDEX customer_first ON customer (brand, first_fold, last_fold) WHERE first_fold <> '';
CREATE INDEX customer_last ON customer (brand, last_fold, first_fold) WHERE last_fold <> '';
CREATE INDEX customer_brand ON customer (brand, id);

-- The tickets that changed a customer's record, so that none does so twice.
CREATE TABLE redemption (
    brand    TEXT COLLATE "C" NOT NULL REFERENCES brand (name),
    issuer   TEXT COLLATE "C" NOT NULL, -- of the ticket; '': the deployment's own keys
    ticket   TEXT COLLATE "C" NOT NULL, -- its ID
    customer BIGINT NOT NULL REFERENCES customer (id) ON DELETE CASCADE,
    expires  BIGINT NOT NULL, -- of the row: the ticket is useless by then
    PRIMARY KEY (brand, issuer, ticket)
);
CREATE INDEX redemption_customer ON redemption (customer);
CREATE INDEX redemption_expires ON redemption (expires);

-- The tickets that were revoked before their end.
CREATE TABLE revocation (
    number  BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- rises with each revocation
    brand   TEXT COLLATE "C" NOT NULL REFERENCES brand (name),
    issuer  TEXT COLLATE "C" NOT NULL, -- of the ticket; '': the deployment's own keys
    ticket  TEXT COLLATE "C" NOT NULL, -- its ID
    expires BIGINT NOT NULL, -- of the row: the ticket is useless by then
    UNIQUE (brand, issuer, ticket)
);
CREATE INDEX revocation_expires ON revocation (expires);

CREATE TABLE api_key (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    secret_sha256 TEXT    NOT NULL, -- lower-case hex
    scopes        TEXT    NOT NULL, -- list
    all_brands    BOOLEAN NOT NULL, -- every brand, those of the future too
    note          TEXT    NOT NULL,
    rate          DOUBLE PRECISION NOT NULL, -- requests a second; 0: the service's default
    burst         BIGINT  NOT NULL,
    created       BIGINT  NOT NULL,
    expires       BIGINT,           -- NULL: never
    revoked       BIGINT,           -- NULL: not revoked
    last_used     BIGINT,           -- NULL: never
    revision      BIGINT  NOT NULL
);

-- The brands of a key that is not for all of them. A key whose last brand goes
-- is good for none.
CREATE TABLE api_key_brand (
    key_id TEXT COLLATE "C" NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
    brand  TEXT COLLATE "C" NOT NULL REFERENCES brand (name),
    PRIMARY KEY (key_id, brand)
);
CREATE INDEX api_key_brand_brand ON api_key_brand (brand);

-- The audit trail: what was done, by whom and to which record. No value is personal.
-- Rows outlive the records that they name. Indexes end in (at, id), the order of pages,
-- but for that of tickets: see ticketBlocks in eventpage.go. A row with the action 'events' has
-- many events: see eventpack.go.
CREATE TABLE event (
    id         BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT NOT NULL, -- when the event happened; it may be written later
    actor_kind TEXT COLLATE "C" NOT NULL, -- key, administrator, shell, service, ticket, stranger
    actor      TEXT COLLATE "C" NOT NULL, -- ID of the API key, name of the administrator, user at the shell
    machine    TEXT   NOT NULL, -- host of a shell or service
    remote     TEXT   NOT NULL, -- address of the client; '': unknown or none
    brand      TEXT COLLATE "C" NOT NULL, -- '': the deployment
    action     TEXT COLLATE "C" NOT NULL, -- such as agent.set
    kind       TEXT COLLATE "C" NOT NULL, -- of the record; '': none
    name       TEXT COLLATE "C" NOT NULL, -- of the record: its name, username as compared, or ID
    fields     TEXT   NOT NULL, -- list of names: the fields that changed
    ticket     TEXT COLLATE "C" NOT NULL, -- its ID; '': none
    issuer     TEXT   NOT NULL, -- of the ticket; '': the deployment's own keys
    ticket_key TEXT   NOT NULL, -- ID of the key in the keyring
    signing_key TEXT NOT NULL, -- ID of the issuer's key, in format 2; '': none
    reason     TEXT   NOT NULL,
    count      BIGINT NOT NULL, -- of equal events that are one row
    details    TEXT   NOT NULL  -- JSON object, or ''
);
CREATE INDEX event_time ON event (at, id);
CREATE INDEX event_brand ON event (brand, at, id);
CREATE INDEX event_action ON event (action, at, id) WHERE action NOT IN ('ticket.issue', 'ticket.redeem', 'ticket.enter');
CREATE INDEX event_actor ON event (actor, at, id) WHERE actor <> '';
CREATE INDEX event_ticket ON event ((id >> 15), ticket) WHERE ticket <> '';
CREATE INDEX event_record ON event (brand, kind, name, at, id) WHERE name <> '';

-- The services that write ticket events. A row that its service left behind tells that
-- events may be missing since the last batch.
CREATE TABLE recorder (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    run     TEXT   NOT NULL, -- random; another for each run of the service
    flushed BIGINT NOT NULL, -- all events from before are written
    batch   BIGINT NOT NULL  -- number of the last batch of the run
);

-- The additions that a client may repeat, for a day.
CREATE TABLE idempotency (
    key     TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- SHA-256 of the caller and the key that the caller chose
    request TEXT COLLATE "C" NOT NULL, -- SHA-256
    kind    TEXT COLLATE "C" NOT NULL, -- of the record that was added
    name    TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX idempotency_created ON idempotency (created);

-- The named issuers of tickets, as the services see them. A row stays for good, so that an
-- issuer that comes back does not bring its sessions of before.
CREATE TABLE issuer (
    name           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    entry          TEXT    NOT NULL, -- JSON object: the entry that a service saw last; '': removed
    away           BOOLEAN NOT NULL, -- denied or removed, and not back
    sessions_since BIGINT            -- sessions begun before are over; NULL: none
);

-- The entries as each service saw them last.
CREATE TABLE issuer_view (
    service TEXT COLLATE "C" NOT NULL,
    issuer  TEXT COLLATE "C" NOT NULL REFERENCES issuer (name),
    entry   TEXT    NOT NULL, -- JSON object
    admits  BOOLEAN NOT NULL, -- the entry is not denied
    seen    BIGINT  NOT NULL,
    PRIMARY KEY (service, issuer)
);

-- When the tickets of each key of an issuer were used last.
CREATE TABLE issuer_use (
    issuer     TEXT COLLATE "C" NOT NULL,
    ticket_key TEXT COLLATE "C" NOT NULL, -- ID of the key
    last_used  BIGINT  NOT NULL,
    PRIMARY KEY (issuer, ticket_key)
);

-- Who administers brands, or the whole deployment.
CREATE TABLE administrator (
    username_fold TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- as it is compared
    username      TEXT    NOT NULL, -- as it was given
    name          TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    role          TEXT    NOT NULL, -- admin or auditor
    brands        TEXT    NOT NULL, -- list: where the role holds
    all_brands    BOOLEAN NOT NULL, -- everywhere, and in the brands of the future too
    active        BOOLEAN NOT NULL,
    record        TEXT    NOT NULL, -- random; another whenever links and sessions of before are over
    revision      BIGINT  NOT NULL
);

-- One row about the directory as a whole.
CREATE TABLE directory_state (
    one     BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    id      TEXT   NOT NULL, -- random, chosen when the directory was made
    changes TEXT   NOT NULL, -- random; another with each change of a brand, channel, agent, API key or administrator
    stamp   TEXT   NOT NULL  -- random; of SQLite: another before the WAL is written into the file
);
