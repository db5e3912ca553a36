-- +goose Up

-- Times are Unix milliseconds unless they say otherwise, as in SQLite: the
-- clock that they are of is the database's all the same (see DB.Now). Text is
-- compared by bytes.

-- One row: what is true of the whole installation. Nobody locks it but by
-- changing it: who must not be overtaken by a change holds an advisory lock.
CREATE TABLE installation (
    one             integer PRIMARY KEY CHECK (one = 1),
    config_version  bigint  NOT NULL,
    key_fingerprint text    NOT NULL,
    next_number     bigint  NOT NULL
) WITH (fillfactor = 50);
INSERT INTO installation VALUES (1, 1, '', 1);

-- Who does what is done once for all.
CREATE TABLE leader (
    one         integer     PRIMARY KEY CHECK (one = 1),
    owner       text        NOT NULL,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO leader VALUES (1, '', '-infinity');

CREATE TABLE lanes (
    lane        integer     PRIMARY KEY CHECK (lane BETWEEN 0 AND 255),
    owner       text        NOT NULL, -- name/process; '' is nobody
    epoch       bigint      NOT NULL,
    lease_until timestamptz NOT NULL,
    watermark   bigint      NOT NULL,
    last        bigint      NOT NULL, -- highest sequence number given out
    batch       bigint      NOT NULL, -- number of the last batch committed
    summarised  bigint      NOT NULL DEFAULT 0 -- up to where its events are summarised
) WITH (fillfactor = 20);

CREATE TABLE accounts (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text   COLLATE "C" NOT NULL UNIQUE,
    name        text   NOT NULL,
    api_version text   NOT NULL,
    created     bigint NOT NULL,
    aws_id      text   COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE api_keys (
    hash    bytea   PRIMARY KEY, -- SHA-256
    account bigint  NOT NULL REFERENCES accounts (number),
    live    boolean NOT NULL,
    hint    text    NOT NULL,
    created bigint  NOT NULL
);

CREATE TABLE aws_keys (
    id      text   COLLATE "C" PRIMARY KEY,
    account bigint NOT NULL REFERENCES accounts (number),
    secret  bytea  NOT NULL, -- sealed
    created bigint NOT NULL
);
CREATE INDEX aws_keys_by_account ON aws_keys (account, created);

-- Deleted destinations stay, so that what was sent to them can still be
-- explained.
CREATE TABLE destinations (
    number   bigint  PRIMARY KEY,
    scope    bigint  NOT NULL,
    id       text    COLLATE "C" NOT NULL UNIQUE,
    version  bigint  NOT NULL, -- config_version of the last change
    revision bigint  NOT NULL,
    status   integer NOT NULL,
    created  bigint  NOT NULL,
    updated  bigint  NOT NULL,
    config   bytea   NOT NULL, -- JSON
    secrets  bytea             -- sealed
);
CREATE INDEX destinations_by_scope ON destinations (scope, number);
CREATE INDEX destinations_by_version ON destinations (version);

CREATE TABLE resources (
    number   bigint  PRIMARY KEY,
    scope    bigint  NOT NULL,
    region   text    COLLATE "C" NOT NULL,
    kind     text    COLLATE "C" NOT NULL,
    parent   bigint  NOT NULL,
    name     text    COLLATE "C" NOT NULL,
    version  bigint  NOT NULL, -- config_version of the last change
    revision bigint  NOT NULL,
    status   integer NOT NULL,
    created  bigint  NOT NULL,
    updated  bigint  NOT NULL,
    config   bytea   NOT NULL, -- JSON
    secrets  bytea             -- sealed
);
CREATE UNIQUE INDEX resources_by_place ON resources (scope, region, kind, parent, name) WHERE status <> 3;
CREATE INDEX resources_by_name ON resources (kind, name) WHERE status <> 3;
CREATE INDEX resources_by_version ON resources (version);

-- Queues, log groups and archives that were deleted and whose contents are
-- still being removed.
CREATE TABLE emptying (
    number bigint PRIMARY KEY,
    kind   text   NOT NULL
);

-- Append-only, partitioned by time: a sequence number begins with it. What
-- falls between the partitions made ahead lands in the default one.
CREATE TABLE events (
    scope     bigint   NOT NULL,
    seq       bigint   NOT NULL,
    created   bigint   NOT NULL,
    bus       bigint   NOT NULL,
    cut       integer  NOT NULL,
    kind      smallint NOT NULL,
    hops      smallint NOT NULL,
    type      text     COLLATE "C" NOT NULL,
    object_id text     COLLATE "C" NOT NULL,
    routes    bytea    NOT NULL,
    payload   bytea    NOT NULL,
    PRIMARY KEY (scope, seq)
) PARTITION BY RANGE (seq);
-- A lane is read in its order after a takeover, and by who lags behind.
CREATE INDEX events_by_lane ON events (((seq >> 13) & 255), seq);
-- Payloads are JSON of a kilobyte or so: compressing them costs more than the
-- room they take.
ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- Written only when a client chose the id.
CREATE TABLE event_keys (
    scope bigint NOT NULL,
    id    text   COLLATE "C" NOT NULL,
    seq   bigint NOT NULL,
    hash  bytea  NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX event_keys_by_seq ON event_keys (seq);

-- What is left of old events: that they were, and how their deliveries ended.
CREATE TABLE summaries (
    scope     bigint   NOT NULL,
    seq       bigint   NOT NULL,
    created   bigint   NOT NULL,
    kind      smallint NOT NULL,
    type      text     COLLATE "C" NOT NULL,
    object_id text     COLLATE "C" NOT NULL,
    id        text     COLLATE "C" NOT NULL, -- if its publisher chose it
    endings   bytea    NOT NULL,
    PRIMARY KEY (scope, seq)
);
CREATE INDEX summaries_by_seq ON summaries (seq);

CREATE TABLE idempotency (
    scope      bigint   NOT NULL,
    generation smallint NOT NULL,
    key        text     COLLATE "C" NOT NULL,
    hash       bytea    NOT NULL,
    result     bytea,
    created    bigint   NOT NULL,
    PRIMARY KEY (scope, generation, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created);

-- Append-only: one row a try, in the partition of its event's time.
CREATE TABLE attempts (
    scope      bigint   NOT NULL,
    seq        bigint   NOT NULL,
    sub        bigint   NOT NULL,
    run        bigint   NOT NULL,
    started    bigint   NOT NULL,
    first_byte bigint   NOT NULL, -- microseconds
    total      bigint   NOT NULL, -- microseconds
    next_at    bigint   NOT NULL, -- 0: none
    n          integer  NOT NULL,
    status     integer  NOT NULL,
    outcome    smallint NOT NULL,
    class      text     COLLATE "C" NOT NULL,
    detail     bytea,             -- message, headers, body
    PRIMARY KEY (scope, seq, sub, run, n)
) PARTITION BY RANGE (seq);
CREATE INDEX attempts_ended_badly ON attempts (scope, seq, sub) WHERE outcome >= 3;
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- The only table of the log whose rows change: deliveries that wait. The lane
-- is the one whose owner sees to them.
CREATE TABLE retries (
    scope   bigint  NOT NULL,
    seq     bigint  NOT NULL,
    sub     bigint  NOT NULL,
    run     bigint  NOT NULL,
    next_at bigint  NOT NULL,
    n       integer NOT NULL,
    lane    integer NOT NULL,
    PRIMARY KEY (scope, seq, sub, run)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX retries_due ON retries (lane, sub, next_at, seq);

CREATE SEQUENCE message_ids;
CREATE TABLE messages (
    id             bigint   PRIMARY KEY DEFAULT nextval('message_ids'),
    queue          bigint   NOT NULL,
    visible_at     bigint   NOT NULL,
    receipt        bigint   NOT NULL, -- 0: never received
    sent           bigint   NOT NULL,
    first_received bigint   NOT NULL,
    source         bigint   NOT NULL,
    sequence       bigint   NOT NULL, -- the id in a FIFO queue, else 0
    receives       integer  NOT NULL,
    grp            text     COLLATE "C" NOT NULL,
    dedup          text     COLLATE "C" NOT NULL,
    message_id     bytea    NOT NULL,
    attributes     bytea,
    body           bytea    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX messages_by_visibility ON messages (queue, visible_at, id);
CREATE INDEX messages_in_order ON messages (queue, sequence) INCLUDE (grp, visible_at) WHERE sequence > 0;
CREATE INDEX messages_in_flight ON messages (queue, grp, visible_at) WHERE sequence > 0 AND receives > 0;
ALTER TABLE messages ALTER COLUMN body SET STORAGE EXTERNAL;

-- What a FIFO queue was sent in the last minutes.
CREATE TABLE message_dedups (
    queue      bigint NOT NULL,
    within     text   COLLATE "C" NOT NULL, -- '' the queue, or a group
    dedup      text   COLLATE "C" NOT NULL,
    expires    bigint NOT NULL,
    message_id bytea  NOT NULL,
    sequence   bigint NOT NULL,
    PRIMARY KEY (queue, within, dedup)
);
CREATE INDEX message_dedups_by_expiry ON message_dedups (expires);

CREATE TABLE log_entries (
    grp     bigint NOT NULL,
    id      bigint GENERATED ALWAYS AS IDENTITY,
    time    bigint NOT NULL,
    stream  text   COLLATE "C" NOT NULL,
    message bytea  NOT NULL,
    PRIMARY KEY (grp, id)
);
CREATE INDEX log_entries_by_time ON log_entries (grp, time);

CREATE TABLE archived (
    archive bigint NOT NULL,
    time    bigint NOT NULL,
    seq     bigint NOT NULL,
    payload bytea  NOT NULL,
    PRIMARY KEY (archive, time, seq)
);
CREATE INDEX archived_by_seq ON archived (archive, seq);
ALTER TABLE archived ALTER COLUMN payload SET STORAGE EXTERNAL;

-- waybill_commit begins every batch. It holds off an owner that was succeeded
-- (WB002) and, where events were routed (p_version > 0), a batch that was
-- routed by an old configuration (WB001); the configuration cannot change
-- until the transaction ends.
-- +goose StatementBegin
CREATE FUNCTION waybill_commit(p_lane integer, p_epoch bigint, p_batch bigint, p_watermark bigint, p_last bigint, p_version bigint, p_config bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(p_config);
    IF p_version > 0 THEN
        SELECT config_version INTO current FROM installation;
        IF current <> p_version THEN
            RAISE EXCEPTION 'the configuration has version %, not %', current, p_version USING ERRCODE = 'WB001';
        END IF;
    END IF;
    UPDATE lanes SET batch = p_batch, watermark = greatest(watermark, p_watermark), last = greatest(last, p_last)
        WHERE lane = p_lane AND epoch = p_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % has another owner', p_lane USING ERRCODE = 'WB002';
    END IF;
END
$$;
-- +goose StatementEnd
