-- The schema of a replay store on PostgreSQL 13 or newer, version 4.
--
-- All times are bigints: milliseconds since the Unix epoch, by the server's
-- clock, by the caller's (p_now) or from tickets. So no session's time zone can
-- matter. A window is a span of 16 s of ticket expiry (replay.Window).
--
-- The services need no more than
--     GRANT USAGE ON SCHEMA admitone_replay TO the_service;
-- since the functions run with the rights of the schema's owner. With USAGE alone
-- a service can spend a nonce, and cannot make the store forget a nonce.

CREATE SCHEMA admitone_replay;

CREATE TABLE admitone_replay.claims (
    realm        bytea  NOT NULL,
    nonce        bytea  NOT NULL CHECK (octet_length(nonce) = 16),
    issued       bigint NOT NULL,
    expires      bigint NOT NULL,
    retain_until bigint NOT NULL,
    first_used   bigint NOT NULL,
    binding      bytea  CHECK (octet_length(binding) = 32),
    PRIMARY KEY (realm, nonce)
);
CREATE INDEX claims_retain_until ON admitone_replay.claims (retain_until);

-- The beginning of the complete memory, in a single row, with the conditions
-- under which the row holds: the timeline of the write-ahead log, and the
-- transaction that wrote the row. A promoted standby and a restored base backup
-- have another timeline; a restored dump has the row from another transaction.
-- The origin is a random text, made when a server finds no row of its own. With the
-- timeline it is the lineage: no two servers that take writes have the same.
CREATE TABLE admitone_replay.epoch (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    began    bigint  NOT NULL,
    origin   uuid    NOT NULL DEFAULT gen_random_uuid(),
    timeline text    NOT NULL,
    made_in  xid8    NOT NULL DEFAULT pg_current_xact_id()
);

-- The windows with purged claims, as ranges that neither overlap nor touch, with
-- the latest issue of the purged tickets. A clock that stepped back meets them.
CREATE TABLE admitone_replay.dropped (
    lo     bigint PRIMARY KEY,
    hi     bigint NOT NULL,
    issued bigint NOT NULL,
    CHECK (lo <= hi)
);

CREATE FUNCTION admitone_replay.version() RETURNS integer
LANGUAGE sql IMMUTABLE AS 'SELECT 4';

-- window_of returns the window of an expiry, rounded down, before 1970 too.
CREATE FUNCTION admitone_replay.window_of(p_expires bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_expires OPERATOR(pg_catalog./) 16000 OPERATOR(pg_catalog.-)
        (p_expires OPERATOR(pg_catalog.%) 16000 OPERATOR(pg_catalog.<) 0)::integer
$$;

CREATE FUNCTION admitone_replay.clock() RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint
$$;

-- On a service without pg_current_wal_lsn() that never loses a commit, a constant
-- may replace this function.
CREATE FUNCTION admitone_replay.timeline() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8)
$$;

-- The epoch's row, if it is this database's own.
CREATE VIEW admitone_replay.memory AS
    SELECT e.began, e.origin::text || ':' || e.timeline AS lineage FROM admitone_replay.epoch e
    WHERE e.timeline = admitone_replay.timeline() AND e.xmin = e.made_in::xid;

-- renew begins a new epoch if the epoch's row is missing or foreign, or if the
-- caller last saw a server of another lineage (an empty p_lineage is any), and
-- returns the epoch and the lineage. The epoch begins by the caller's clock if this
-- is ahead of the server's. A server after a loss of memory may stand behind the
-- true time, and an epoch in the past would admit again the tickets redeemed since.
CREATE FUNCTION admitone_replay.renew(p_now bigint, p_lineage text, OUT epoch bigint, OUT lineage text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM admitone_replay.check_session();
    PERFORM pg_advisory_xact_lock(7020957371498726500);
    SELECT m.began, m.lineage INTO epoch, lineage FROM admitone_replay.memory m;
    IF NOT FOUND THEN
        INSERT INTO admitone_replay.epoch (began, timeline)
        VALUES (greatest(admitone_replay.clock(), p_now), admitone_replay.timeline())
        ON CONFLICT (one) DO UPDATE
        SET began = excluded.began, origin = excluded.origin, timeline = excluded.timeline, made_in = excluded.made_in;
    ELSIF p_lineage NOT IN ('', lineage) THEN
        UPDATE admitone_replay.epoch e SET began = greatest(e.began, admitone_replay.clock(), p_now),
            made_in = pg_current_xact_id();
    END IF;
    SELECT m.began, m.lineage INTO STRICT epoch, lineage FROM admitone_replay.memory m;
END
$$;

-- check_session refuses transactions in which the functions below would be wrong.
-- The functions look again after waiting for others, so each of their statements
-- must see the commits before it.
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

-- claim spends a nonce (p_spend), or returns the answer that a claim would get. If
-- the nonce was spent before, status is 'already_used'. Then first_used, the
-- binding of the first claim, and the clock after any waiting let the caller judge
-- a retry. Otherwise status is admitted, issued_before_start, too_late or
-- clock_behind, and the rest is null.
--
-- p_lineage is the lineage that the caller last saw. On a server of another lineage,
-- or without an epoch of its own, nothing is spent until renew was called.
CREATE FUNCTION admitone_replay.claim(
    p_realm bytea, p_nonce bytea, p_issued bigint, p_not_before bigint, p_expires bigint, p_retain_until bigint,
    p_binding bytea, p_spend boolean, p_now bigint, p_lineage text,
    OUT status text, OUT first_used bigint, OUT binding bytea, OUT seen bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    win   CONSTANT bigint := admitone_replay.window_of(p_expires);
    epoch bigint;
    line  text;
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

    SELECT m.began, m.lineage INTO epoch, line FROM admitone_replay.memory m;
    IF NOT FOUND OR line <> p_lineage THEN
        IF p_spend THEN
            RAISE EXCEPTION 'the server is not the one that was last seen, or has lost its memory'
                USING ERRCODE = 'AD002';
        END IF;
        epoch := greatest(admitone_replay.clock(), p_now);
    END IF;
    IF p_not_before <= epoch THEN
        status := 'issued_before_start';
    -- Can the ticket be among the purged tickets of its window?
    ELSIF EXISTS (SELECT FROM admitone_replay.dropped d WHERE win BETWEEN d.lo AND d.hi AND p_issued <= d.issued) THEN
        status := 'clock_behind';
    ELSE
        status := 'admitted';
        IF p_spend THEN
            INSERT INTO admitone_replay.claims (realm, nonce, issued, expires, retain_until, first_used, binding)
            VALUES (p_realm, p_nonce, p_issued, p_expires, p_retain_until, admitone_replay.clock(), p_binding)
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                -- The nonce was not in the table. Was it purged, was the table
                -- emptied, or is its time over, since the looks above?
                PERFORM FROM admitone_replay.memory m
                WHERE m.began = epoch AND m.lineage = p_lineage
                    AND NOT EXISTS (SELECT FROM admitone_replay.dropped d
                        WHERE win BETWEEN d.lo AND d.hi AND p_issued <= d.issued);
                IF NOT FOUND OR admitone_replay.clock() >= p_retain_until THEN
                    RAISE EXCEPTION 'the replay store changed during the claim'
                        USING ERRCODE = 'serialization_failure';
                END IF;
                RETURN;
            END IF;
        END IF;
    END IF;

    -- A new statement, so it sees the row of the first claim.
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

-- claims calls claim for several nonces in order, in a single transaction with a
-- shared cost; n is the place in the arrays. Later claims see the earlier ones.
-- Callers give nonces in ascending order: two transactions that wait for each other
-- would be a deadlock, and the server would undo one of them.
CREATE FUNCTION admitone_replay.claims(
    p_realm bytea, p_nonces bytea[], p_issued bigint[], p_not_before bigint[], p_expires bigint[], p_retain_until bigint[],
    p_bindings bytea[], p_spend boolean[], p_now bigint, p_lineage text)
RETURNS TABLE (n integer, status text, first_used bigint, binding bytea, seen bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR i IN 1 .. cardinality(p_nonces) LOOP
        RETURN QUERY SELECT i, c.* FROM admitone_replay.claim(
            p_realm, p_nonces[i], p_issued[i], p_not_before[i], p_expires[i], p_retain_until[i], p_bindings[i],
            p_spend[i], p_now, p_lineage) c;
    END LOOP;
END
$$;

-- drop_window remembers that claims of a window were purged, of tickets issued up to
-- p_issued. Beyond 64 ranges the two lowest are merged, gap included. This errs on
-- the side of refusal, farthest in the past.
CREATE FUNCTION admitone_replay.drop_window(p_window bigint, p_issued bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    new_lo bigint;
    new_hi bigint;
    latest bigint;
BEGIN
    UPDATE admitone_replay.dropped d SET issued = greatest(d.issued, p_issued) WHERE p_window BETWEEN d.lo AND d.hi;
    IF FOUND THEN
        RETURN;
    END IF;
    WITH neighbours AS (
        DELETE FROM admitone_replay.dropped d WHERE d.hi = p_window - 1 OR d.lo = p_window + 1
        RETURNING d.lo, d.hi, d.issued
    )
    SELECT least(min(n.lo), p_window), greatest(max(n.hi), p_window), greatest(max(n.issued), p_issued)
    INTO new_lo, new_hi, latest FROM neighbours n;
    INSERT INTO admitone_replay.dropped (lo, hi, issued) VALUES (new_lo, new_hi, latest);
    IF (SELECT count(*) FROM admitone_replay.dropped) > 64 THEN
        WITH lowest AS (
            DELETE FROM admitone_replay.dropped d
            WHERE d.lo IN (SELECT l.lo FROM admitone_replay.dropped l ORDER BY l.lo LIMIT 2)
            RETURNING d.lo, d.hi, d.issued
        )
        SELECT min(l.lo), max(l.hi), max(l.issued) INTO new_lo, new_hi, latest FROM lowest l;
        INSERT INTO admitone_replay.dropped (lo, hi, issued) VALUES (new_lo, new_hi, latest);
    END IF;
END
$$;

-- purge deletes claims past their retain_until, p_most at most, and returns their
-- number. Claims of tickets that expired in this minute stay, so no window is
-- dropped while good tickets of the window may still come. During another purge,
-- nothing is deleted.
CREATE FUNCTION admitone_replay.purge(p_most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    over   CONSTANT bigint := admitone_replay.clock();
    before CONSTANT bigint := admitone_replay.window_of(over - 60000) * 16000;
    windows bigint[];
    latest  bigint[];
    gone    integer;
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
        RETURNING admitone_replay.window_of(c.expires) AS win, c.issued
    ), windows AS (
        SELECT d.win, count(*) AS n, max(d.issued) AS latest FROM deleted d GROUP BY d.win
    )
    SELECT coalesce(sum(w.n), 0), array_agg(w.win ORDER BY w.win), array_agg(w.latest ORDER BY w.win)
    INTO gone, windows, latest FROM windows w;
    PERFORM admitone_replay.drop_window(u.w, u.l) FROM unnest(windows, latest) AS u (w, l);
    RETURN gone;
END
$$;

-- An emptied table begins a new epoch, so that nobody empties it in secret.
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
