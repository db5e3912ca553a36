-- +goose Up

-- How destinations do that have failed: a row is written only while that
-- changes.
CREATE TABLE destination_health (
    sub          INTEGER PRIMARY KEY,
    last_success INTEGER NOT NULL,
    warned       INTEGER NOT NULL,
    failures     TEXT    NOT NULL -- JSON: [[event, time], …], the first since then
);

-- Deliveries of one group follow each other, in the order of their events. 0 is
-- none.
ALTER TABLE retries ADD COLUMN grp INTEGER NOT NULL DEFAULT 0;
CREATE INDEX retries_in_order ON retries (sub, grp, seq) WHERE grp <> 0;
