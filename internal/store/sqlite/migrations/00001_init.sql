-- +goose Up

-- One row: what is true of the whole installation.
CREATE TABLE installation (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    config_version  INTEGER NOT NULL,
    key_fingerprint TEXT    NOT NULL
);
INSERT INTO installation VALUES (1, 1, '');

CREATE TABLE accounts (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    api_version TEXT    NOT NULL,
    created     INTEGER NOT NULL -- Unix milliseconds, as are all times below
);

CREATE TABLE api_keys (
    hash    BLOB    PRIMARY KEY, -- SHA-256
    account INTEGER NOT NULL REFERENCES accounts (number),
    live    INTEGER NOT NULL,
    hint    TEXT    NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

-- The number is the subscription's. Deleted destinations stay, so that what
-- was sent to them can still be explained.
CREATE TABLE destinations (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    scope    INTEGER NOT NULL,
    id       TEXT    NOT NULL UNIQUE,
    version  INTEGER NOT NULL, -- config_version of the last change
    revision INTEGER NOT NULL,
    status   INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    config   BLOB    NOT NULL, -- JSON
    secrets  BLOB              -- sealed
);
CREATE INDEX destinations_by_scope ON destinations (scope, number);
CREATE INDEX destinations_by_version ON destinations (version);

CREATE TABLE lanes (
    lane        INTEGER PRIMARY KEY,
    owner       TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    watermark   INTEGER NOT NULL
);

-- Append-only. The payload stands last: what comes before it can be read
-- without its overflow pages.
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY,
    scope     INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    type      TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    object_id TEXT    NOT NULL,
    routes    BLOB    NOT NULL,
    cut       INTEGER NOT NULL,
    payload   BLOB    NOT NULL
);
-- Lists read this index alone until they know which rows they want.
CREATE INDEX events_by_scope ON events (scope, seq, kind, type);

-- Written only when a client chose the id.
CREATE TABLE event_keys (
    scope INTEGER NOT NULL,
    id    TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    hash  BLOB    NOT NULL,
    PRIMARY KEY (scope, id)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    scope      INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    result     BLOB,
    created    INTEGER NOT NULL,
    PRIMARY KEY (scope, generation, key)
) WITHOUT ROWID;

-- Append-only: one row a try.
CREATE TABLE attempts (
    seq        INTEGER NOT NULL,
    sub        INTEGER NOT NULL,
    run        INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    scope      INTEGER NOT NULL,
    outcome    INTEGER NOT NULL,
    status     INTEGER NOT NULL,
    started    INTEGER NOT NULL,
    first_byte INTEGER NOT NULL, -- microseconds
    total      INTEGER NOT NULL, -- microseconds
    next_at    INTEGER NOT NULL, -- 0: none
    class      TEXT    NOT NULL,
    detail     BLOB,             -- message, headers, body
    PRIMARY KEY (seq, sub, run, n)
) WITHOUT ROWID;
-- The happy path pays nothing for this index.
CREATE INDEX attempts_ended_badly ON attempts (scope, seq, sub) WHERE outcome >= 3;

-- The only table whose rows change: deliveries that wait.
CREATE TABLE retries (
    scope   INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    sub     INTEGER NOT NULL,
    run     INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    PRIMARY KEY (scope, seq, sub, run)
) WITHOUT ROWID;
CREATE INDEX retries_due ON retries (sub, next_at, seq);

-- See DB.Probe. Empty but for a moment.
CREATE TABLE probe (filler BLOB NOT NULL);
