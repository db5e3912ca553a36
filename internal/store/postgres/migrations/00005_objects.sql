-- +goose Up

-- What the sandbox keeps, as JSON. Its rows change.
CREATE TABLE objects (
    scope    bigint NOT NULL,
    made     bigint NOT NULL, -- rises with each object of a scope
    revision bigint NOT NULL,
    id       text   COLLATE "C" NOT NULL,
    kind     text   COLLATE "C" NOT NULL, -- such as payment_intent
    parent   text   COLLATE "C" NOT NULL, -- the object it is mostly looked for by, or ''
    body     bytea  NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX objects_by_kind ON objects (scope, kind, made);
CREATE INDEX objects_by_parent ON objects (scope, kind, parent, made);

-- Which event shows the newest state of an object. Written behind the log.
CREATE TABLE mentions (
    scope   bigint NOT NULL,
    created bigint NOT NULL,
    seq     bigint NOT NULL,
    id      text   COLLATE "C" NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX mentions_by_seq ON mentions (seq);

-- Up to where the lane's events are among the mentions.
ALTER TABLE lanes ADD COLUMN mentioned bigint NOT NULL DEFAULT 0;
