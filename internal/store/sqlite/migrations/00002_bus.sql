-- +goose Up

-- Of events on a bus; both take no room in the rows of others.
ALTER TABLE events ADD COLUMN bus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;

-- The AWS account id: 12 digits.
ALTER TABLE accounts ADD COLUMN aws_id TEXT NOT NULL DEFAULT '';
UPDATE accounts SET aws_id = printf('%012d', abs(random() % 1000000000000));
CREATE UNIQUE INDEX accounts_by_aws_id ON accounts (aws_id);

-- Destinations and resources share their numbers: either can be a subscription.
ALTER TABLE installation ADD COLUMN next_number INTEGER NOT NULL DEFAULT 1;
UPDATE installation SET next_number = (SELECT coalesce(max(number), 0) + 1 FROM destinations);

CREATE TABLE resources (
    number   INTEGER PRIMARY KEY,
    scope    INTEGER NOT NULL,
    region   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    parent   INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    version  INTEGER NOT NULL, -- config_version of the last change
    revision INTEGER NOT NULL,
    status   INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    config   BLOB    NOT NULL, -- JSON
    secrets  BLOB              -- sealed
);
CREATE UNIQUE INDEX resources_by_place ON resources (scope, region, kind, parent, name) WHERE status <> 3;
CREATE INDEX resources_by_name ON resources (kind, name) WHERE status <> 3;
CREATE INDEX resources_by_version ON resources (version);

-- Queues, log groups and archives that were deleted and whose contents are
-- still being removed.
CREATE TABLE emptying (
    number INTEGER PRIMARY KEY,
    kind   TEXT NOT NULL
);

CREATE TABLE aws_keys (
    id      TEXT    PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts (number),
    secret  BLOB    NOT NULL, -- sealed
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX aws_keys_by_account ON aws_keys (account, created);

-- The body stands last, as in events. Ids are not given out twice: they are
-- the sequence numbers of FIFO queues.
CREATE TABLE messages (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    queue          INTEGER NOT NULL,
    visible_at     INTEGER NOT NULL,
    receives       INTEGER NOT NULL,
    receipt        INTEGER NOT NULL, -- 0: never received
    sent           INTEGER NOT NULL,
    first_received INTEGER NOT NULL,
    source         INTEGER NOT NULL,
    sequence       INTEGER NOT NULL, -- the id in a FIFO queue, else 0
    grp            TEXT    NOT NULL,
    dedup          TEXT    NOT NULL,
    message_id     BLOB    NOT NULL,
    attributes     BLOB,
    body           BLOB    NOT NULL
);
CREATE INDEX messages_by_visibility ON messages (queue, visible_at);
-- FIFO queues are read in order, past groups with a message in flight.
CREATE INDEX messages_in_order ON messages (queue, sequence, grp, visible_at) WHERE sequence > 0;
CREATE INDEX messages_in_flight ON messages (queue, grp, visible_at) WHERE sequence > 0 AND receives > 0;

-- What a FIFO queue was sent in the last minutes.
CREATE TABLE message_dedups (
    queue      INTEGER NOT NULL,
    within     TEXT    NOT NULL, -- '' the queue, or a group
    dedup      TEXT    NOT NULL,
    expires    INTEGER NOT NULL,
    message_id BLOB    NOT NULL,
    sequence   INTEGER NOT NULL,
    PRIMARY KEY (queue, within, dedup)
) WITHOUT ROWID;
CREATE INDEX message_dedups_by_expiry ON message_dedups (expires);

CREATE TABLE log_entries (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    grp     INTEGER NOT NULL,
    time    INTEGER NOT NULL,
    stream  TEXT    NOT NULL,
    message BLOB    NOT NULL
);
CREATE INDEX log_entries_by_group ON log_entries (grp);
CREATE INDEX log_entries_by_time ON log_entries (grp, time);

CREATE TABLE archived (
    archive INTEGER NOT NULL,
    time    INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    payload BLOB    NOT NULL,
    PRIMARY KEY (archive, time, seq)
) WITHOUT ROWID;
CREATE INDEX archived_by_seq ON archived (archive, seq);
