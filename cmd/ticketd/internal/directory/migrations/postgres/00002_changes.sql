-- Each change of what the look-ups of requests remember replaces the text in
-- directory_state.changes. The last use of an API key is no such change.

-- +goose Up

-- The triggers wait for the end of the transaction, and the first one does the work: so
-- transactions wait for each other only while they commit.
--
-- +goose StatementBegin
CREATE FUNCTION directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('directory.changed', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
        PERFORM set_config('directory.changed', pg_current_xact_id()::text, true);
        UPDATE directory_state SET changes = gen_random_uuid()::text;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER brand_changed AFTER INSERT OR DELETE OR UPDATE ON brand
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION directory_changed();

CREATE CONSTRAINT TRIGGER channel_changed AFTER INSERT OR DELETE OR UPDATE ON channel
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION directory_changed();

CREATE CONSTRAINT TRIGGER agent_changed AFTER INSERT OR DELETE OR UPDATE ON agent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION directory_changed();

CREATE CONSTRAINT TRIGGER api_key_brand_changed AFTER INSERT OR DELETE OR UPDATE ON api_key_brand
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION directory_changed();

CREATE CONSTRAINT TRIGGER api_key_changed AFTER INSERT OR DELETE OR UPDATE OF id, secret_sha256, scopes, all_brands, note, rate, burst, created, expires, revoked ON api_key
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION directory_changed();

CREATE CONSTRAINT TRIGGER administrator_changed AFTER INSERT OR DELETE OR UPDATE ON administrator
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION directory_changed();
