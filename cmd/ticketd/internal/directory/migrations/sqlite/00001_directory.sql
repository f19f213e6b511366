-- The directory: who may ask for tickets, and whom a ticket names.
--
-- Times are milliseconds since the Unix epoch, lifetimes milliseconds, lists
-- JSON arrays of strings. Every row below brand belongs to one brand, and its
-- key begins with it.

-- +goose Up

CREATE TABLE brand (
    name                  TEXT    NOT NULL PRIMARY KEY,
    region                TEXT    NOT NULL, -- ISO 3166 default region of phone numbers; '': none
    required_agent_fields TEXT    NOT NULL, -- list
    ticket_login          BOOLEAN NOT NULL,
    one_time_default      BOOLEAN NOT NULL,
    agent_lifetime        BIGINT  NOT NULL, -- 0: the system's default, here and in the next two
    customer_lifetime     BIGINT  NOT NULL,
    max_lifetime          BIGINT  NOT NULL
);

CREATE TABLE agent (
    brand      TEXT    NOT NULL REFERENCES brand (name),
    username   TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    phone1     TEXT    NOT NULL, -- E.164 with the leading +
    uniqueid   TEXT    NOT NULL,
    first_name TEXT    NOT NULL,
    last_name  TEXT    NOT NULL,
    active     BOOLEAN NOT NULL,
    PRIMARY KEY (brand, username)
);

CREATE TABLE channel (
    brand             TEXT NOT NULL REFERENCES brand (name),
    id                TEXT NOT NULL,
    name              TEXT NOT NULL,
    ticket_login      BOOLEAN,         -- NULL: as the brand, here and in the next
    one_time_default  BOOLEAN,
    customer_lifetime BIGINT NOT NULL, -- 0: as the brand, here and in the next
    max_lifetime      BIGINT NOT NULL,
    PRIMARY KEY (brand, id)
);

-- AUTOINCREMENT, so that a deleted customer's id is never another's: sessions
-- may outlive the record that they name.
CREATE TABLE customer (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    brand      TEXT    NOT NULL REFERENCES brand (name),
    email      TEXT    NOT NULL, -- as it was given
    email_fold TEXT    NOT NULL, -- as it is compared
    phone1     TEXT    NOT NULL, -- E.164 with the leading +
    uniqueid   TEXT    NOT NULL,
    first_name TEXT    NOT NULL,
    last_name  TEXT    NOT NULL,
    remark     TEXT    NOT NULL,
    created    BIGINT  NOT NULL,
    updated    BIGINT  NOT NULL,
    CHECK (email_fold <> '' OR phone1 <> '' OR uniqueid <> ''),
    CHECK ((email = '') = (email_fold = ''))
);
CREATE UNIQUE INDEX customer_email ON customer (brand, email_fold) WHERE email_fold <> '';
CREATE UNIQUE INDEX customer_phone1 ON customer (brand, phone1) WHERE phone1 <> '';
CREATE UNIQUE INDEX customer_uniqueid ON customer (brand, uniqueid) WHERE uniqueid <> '';

-- A key's brands are names and not references: the list must not become empty,
-- which means every brand, because a brand was deleted.
CREATE TABLE api_key (
    id            TEXT   NOT NULL PRIMARY KEY,
    secret_sha256 TEXT   NOT NULL, -- lower-case hex
    scopes        TEXT   NOT NULL, -- list
    brands        TEXT   NOT NULL, -- list; []: every brand
    note          TEXT   NOT NULL,
    created       BIGINT NOT NULL,
    expires       BIGINT,          -- NULL: never
    revoked       BIGINT,          -- NULL: not revoked
    last_used     BIGINT           -- NULL: never
);
