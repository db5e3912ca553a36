-- +goose Up

-- What is left of old events: that they were, and how their deliveries ended.
CREATE TABLE summaries (
    scope     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    type      TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    object_id TEXT    NOT NULL,
    id        TEXT    NOT NULL, -- if its publisher chose it
    endings   BLOB    NOT NULL,
    PRIMARY KEY (scope, seq)
) WITHOUT ROWID;
CREATE INDEX summaries_by_seq ON summaries (seq);

-- Up to where the lane's events are summarised.
ALTER TABLE lanes ADD COLUMN summarised INTEGER NOT NULL DEFAULT 0;

CREATE INDEX event_keys_by_seq ON event_keys (seq);
CREATE INDEX idempotency_by_age ON idempotency (created);
