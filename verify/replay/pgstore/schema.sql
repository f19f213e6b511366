-- The schema of a replay store on PostgreSQL 13 or newer, version 1.
--
-- All times are bigints: milliseconds since the Unix epoch, by the server's
-- clock, by the caller's (p_now) or from tickets. So no session's time zone can
-- matter. A slice is a window of 16.384 s of ticket expiry.
--
-- The services need no more than
--     GRANT USAGE ON SCHEMA admitone_replay TO the_service;
-- for the functions run with the rights of the schema's owner. With that alone
-- a service can spend a nonce, and cannot make the store forget one.

CREATE SCHEMA admitone_replay;

CREATE TABLE admitone_replay.claims (
    realm        bytea  NOT NULL,
    nonce        bytea  NOT NULL CHECK (octet_length(nonce) = 16),
    expires      bigint NOT NULL,
    retain_until bigint NOT NULL,
    first_used   bigint NOT NULL,
    binding      bytea  CHECK (octet_length(binding) = 32),
    PRIMARY KEY (realm, nonce)
);
CREATE INDEX claims_retain_until ON admitone_replay.claims (retain_until);

-- The moment from which the memory is complete, in one row, and on what it
-- holds: the timeline of the write-ahead log, and the transaction that wrote
-- the row. A promoted standby and a restored base backup have another timeline;
-- a restored dump has the row from another transaction.
CREATE TABLE admitone_replay.epoch (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    began    bigint  NOT NULL,
    timeline text    NOT NULL,
    made_in  xid8    NOT NULL DEFAULT pg_current_xact_id()
);

-- The slices of which claims were purged, as ranges that neither overlap nor
-- touch. A clock that stepped back meets them.
CREATE TABLE admitone_replay.dropped (
    lo bigint PRIMARY KEY,
    hi bigint NOT NULL,
    CHECK (lo <= hi)
);

CREATE FUNCTION admitone_replay.version() RETURNS integer
LANGUAGE sql IMMUTABLE AS 'SELECT 1';

CREATE FUNCTION admitone_replay.clock() RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint
$$;

-- Where a service has no pg_current_wal_lsn(), and never loses what it has
-- committed, this may be replaced by a constant.
CREATE FUNCTION admitone_replay.timeline() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8)
$$;

-- The epoch's row, if it is this database's own.
CREATE VIEW admitone_replay.memory AS
    SELECT e.began FROM admitone_replay.epoch e
    WHERE e.timeline = admitone_replay.timeline() AND e.xmin = e.made_in::xid;

-- renew begins a new epoch where there is none, and returns when it began: by the
-- caller's clock if that is ahead of the server's. A server that has lost its
-- memory may stand behind the true time, and an epoch in the past would let in
-- again what was redeemed since.
CREATE FUNCTION admitone_replay.renew(p_now bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_began bigint;
BEGIN
    PERFORM admitone_replay.check_session();
    PERFORM pg_advisory_xact_lock(7020957371498726500);
    SELECT m.began INTO found_began FROM admitone_replay.memory m;
    IF NOT FOUND THEN
        INSERT INTO admitone_replay.epoch (began, timeline)
        VALUES (greatest(admitone_replay.clock(), p_now), admitone_replay.timeline())
        ON CONFLICT (one) DO UPDATE
        SET began = excluded.began, timeline = excluded.timeline, made_in = excluded.made_in
        RETURNING began INTO found_began;
    END IF;
    RETURN found_began;
END
$$;

-- check_session refuses transactions in which the functions below would not be
-- right. They look again after they have waited for others, so each of their
-- statements must see what was committed before it.
CREATE FUNCTION admitone_replay.check_session() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'replay claims need a transaction that is READ COMMITTED' USING ERRCODE = 'AD001',
            HINT = 'ALTER ROLE ... SET default_transaction_isolation = ''read committed''';
    END IF;
END
$$;

-- claim spends a nonce (p_spend) or looks what a claim of it would say. If the
-- nonce was spent before, status is 'already_used', with first_used, the
-- binding of that first claim, and the clock after any waiting, for the caller
-- to judge a retry by; and otherwise one of admitted, issued_before_start,
-- too_late and clock_behind, with the rest null.
CREATE FUNCTION admitone_replay.claim(
    p_realm bytea, p_nonce bytea, p_not_before bigint, p_expires bigint, p_retain_until bigint, p_binding bytea,
    p_spend boolean, p_now bigint,
    OUT status text, OUT first_used bigint, OUT binding bytea, OUT seen bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slice CONSTANT bigint := p_expires >> 14;
    epoch bigint;
BEGIN
    PERFORM admitone_replay.check_session();
    -- SET LOCAL, so that it holds for this transaction's commit and no longer.
    IF p_spend AND current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF admitone_replay.clock() >= p_retain_until THEN
        status := 'too_late';
        RETURN;
    END IF;

    SELECT m.began INTO epoch FROM admitone_replay.memory m;
    IF NOT FOUND THEN
        IF p_spend THEN
            epoch := admitone_replay.renew(p_now);
        ELSE
            epoch := greatest(admitone_replay.clock(), p_now);
        END IF;
    END IF;
    IF p_not_before <= epoch THEN
        status := 'issued_before_start';
    ELSIF EXISTS (SELECT FROM admitone_replay.dropped d WHERE slice BETWEEN d.lo AND d.hi) THEN
        status := 'clock_behind';
    ELSE
        status := 'admitted';
        IF p_spend THEN
            INSERT INTO admitone_replay.claims (realm, nonce, expires, retain_until, first_used, binding)
            VALUES (p_realm, p_nonce, p_expires, p_retain_until, admitone_replay.clock(), p_binding)
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                -- The nonce was not in the table. Was it purged, was the table
                -- emptied, or is its time over, since the looks above?
                PERFORM FROM admitone_replay.memory m
                WHERE m.began = epoch
                    AND NOT EXISTS (SELECT FROM admitone_replay.dropped d WHERE slice BETWEEN d.lo AND d.hi);
                IF NOT FOUND OR admitone_replay.clock() >= p_retain_until THEN
                    RAISE EXCEPTION 'the replay store changed during the claim'
                        USING ERRCODE = 'serialization_failure';
                END IF;
                RETURN;
            END IF;
        END IF;
    END IF;

    -- A new statement, so it sees the row of whoever was first.
    SELECT c.first_used, c.binding INTO claim.first_used, claim.binding
    FROM admitone_replay.claims c WHERE c.realm = p_realm AND c.nonce = p_nonce;
    IF FOUND THEN
        status := 'already_used';
        seen := admitone_replay.clock();
        IF seen >= p_retain_until THEN
            status := 'too_late';
        END IF;
    ELSIF status = 'admitted' AND p_spend THEN
        RAISE EXCEPTION 'the nonce was purged during the claim' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

-- claims does that for several, one after the other in one transaction, so that
-- they share its cost; n is the place in the arrays. What comes later sees what
-- came before. Callers give nonces in ascending order: two transactions that wait
-- for each other's would be a deadlock, of which one is undone.
CREATE FUNCTION admitone_replay.claims(
    p_realm bytea, p_nonces bytea[], p_not_before bigint[], p_expires bigint[], p_retain_until bigint[], p_bindings bytea[],
    p_spend boolean[], p_now bigint)
RETURNS TABLE (n integer, status text, first_used bigint, binding bytea, seen bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR i IN 1 .. cardinality(p_nonces) LOOP
        RETURN QUERY SELECT i, c.* FROM admitone_replay.claim(
            p_realm, p_nonces[i], p_not_before[i], p_expires[i], p_retain_until[i], p_bindings[i], p_spend[i], p_now) c;
    END LOOP;
END
$$;

-- drop_slice remembers that claims of a slice were purged. At 64 ranges the two
-- lowest become one, with the gap between them, which errs on the side of
-- refusing, farthest in the past.
CREATE FUNCTION admitone_replay.drop_slice(p_slice bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    new_lo bigint;
    new_hi bigint;
BEGIN
    IF EXISTS (SELECT FROM admitone_replay.dropped d WHERE p_slice BETWEEN d.lo AND d.hi) THEN
        RETURN;
    END IF;
    WITH neighbours AS (
        DELETE FROM admitone_replay.dropped d WHERE d.hi = p_slice - 1 OR d.lo = p_slice + 1 RETURNING d.lo, d.hi
    )
    SELECT least(min(n.lo), p_slice), greatest(max(n.hi), p_slice) INTO new_lo, new_hi FROM neighbours n;
    INSERT INTO admitone_replay.dropped (lo, hi) VALUES (new_lo, new_hi);
    IF (SELECT count(*) FROM admitone_replay.dropped) > 64 THEN
        WITH lowest AS (
            DELETE FROM admitone_replay.dropped d
            WHERE d.lo IN (SELECT l.lo FROM admitone_replay.dropped l ORDER BY l.lo LIMIT 2) RETURNING d.lo, d.hi
        )
        SELECT min(l.lo), max(l.hi) INTO new_lo, new_hi FROM lowest l;
        INSERT INTO admitone_replay.dropped (lo, hi) VALUES (new_lo, new_hi);
    END IF;
END
$$;

-- purge deletes claims whose retain_until is over, p_most at most, and returns
-- how many. It leaves those of tickets that expired in this minute, so that no
-- slice is dropped of which good tickets may still come. It deletes none while
-- another purge is at work.
CREATE FUNCTION admitone_replay.purge(p_most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    over   CONSTANT bigint := admitone_replay.clock();
    before CONSTANT bigint := (over - 60000) >> 14 << 14;
    slices bigint[];
    gone   integer;
BEGIN
    PERFORM admitone_replay.check_session();
    IF NOT pg_try_advisory_xact_lock(7020957371498726501) THEN
        RETURN 0;
    END IF;
    WITH deleted AS (
        DELETE FROM admitone_replay.claims c
        WHERE c.ctid = ANY (ARRAY(
                SELECT o.ctid FROM admitone_replay.claims o
                WHERE o.retain_until <= over AND o.expires < before
                ORDER BY o.retain_until LIMIT p_most))
        RETURNING c.expires >> 14 AS slice
    )
    SELECT count(*), array_agg(DISTINCT d.slice ORDER BY d.slice) INTO gone, slices FROM deleted d;
    PERFORM admitone_replay.drop_slice(s) FROM unnest(slices) s;
    RETURN gone;
END
$$;

-- Whoever may empty a table may, but not in secret: a new epoch begins.
CREATE FUNCTION admitone_replay.emptied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM admitone_replay.epoch;
    RETURN NULL;
END
$$;
CREATE TRIGGER emptied BEFORE TRUNCATE ON admitone_replay.claims
    FOR EACH STATEMENT EXECUTE FUNCTION admitone_replay.emptied();
CREATE TRIGGER emptied BEFORE TRUNCATE ON admitone_replay.dropped
    FOR EACH STATEMENT EXECUTE FUNCTION admitone_replay.emptied();
