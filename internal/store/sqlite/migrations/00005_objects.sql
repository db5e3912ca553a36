-- +goose Up

-- What the sandbox keeps, as JSON. Its rows change.
CREATE TABLE objects (
    scope    INTEGER NOT NULL,
    id       TEXT    NOT NULL,
    kind     TEXT    NOT NULL, -- such as payment_intent
    parent   TEXT    NOT NULL, -- the object it is mostly looked for by, or ''
    made     INTEGER NOT NULL, -- rises with each object of a scope
    revision INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX objects_by_kind ON objects (scope, kind, made);
CREATE INDEX objects_by_parent ON objects (scope, kind, parent, made);

-- Which event shows the newest state of an object. Written behind the log.
CREATE TABLE mentions (
    scope   INTEGER NOT NULL,
    id      TEXT    NOT NULL,
    created INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE INDEX mentions_by_seq ON mentions (seq);

-- Up to where the lane's events are among the mentions.
ALTER TABLE lanes ADD COLUMN mentioned INTEGER NOT NULL DEFAULT 0;
