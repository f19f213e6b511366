-- Each change of what the look-ups of requests remember replaces the text in
-- directory_state.changes. The last use of an API key is no such change.

-- +goose Up

-- +goose StatementBegin
CREATE TRIGGER brand_added AFTER INSERT ON brand BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER brand_changed AFTER UPDATE ON brand BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER brand_removed AFTER DELETE ON brand BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER channel_added AFTER INSERT ON channel BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER channel_changed AFTER UPDATE ON channel BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER channel_removed AFTER DELETE ON channel BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER agent_added AFTER INSERT ON agent BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER agent_changed AFTER UPDATE ON agent BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER agent_removed AFTER DELETE ON agent BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_key_brand_added AFTER INSERT ON api_key_brand BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_key_brand_changed AFTER UPDATE ON api_key_brand BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_key_brand_removed AFTER DELETE ON api_key_brand BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_key_added AFTER INSERT ON api_key BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_key_changed AFTER UPDATE OF id, secret_sha256, scopes, all_brands, note, rate, burst, created, expires, revoked ON api_key BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_key_removed AFTER DELETE ON api_key BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER administrator_added AFTER INSERT ON administrator BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER administrator_changed AFTER UPDATE ON administrator BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER administrator_removed AFTER DELETE ON administrator BEGIN
    UPDATE directory_state SET changes = hex(randomblob(16));
END;
-- +goose StatementEnd
