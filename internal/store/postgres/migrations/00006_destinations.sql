-- +goose Up

-- How destinations do that have failed: a row is written only while that
-- changes.
CREATE TABLE destination_health (
    sub          bigint PRIMARY KEY,
    last_success bigint NOT NULL,
    warned       bigint NOT NULL,
    failures     text   NOT NULL -- JSON: [[event, time], …], the first since then
) WITH (fillfactor = 50);

-- Deliveries of one group follow each other. 0 is none. A turn is given out
-- under the group's lock, so that their order is that of the commits on all
-- nodes, which sequence numbers made of clocks are not quite.
CREATE SEQUENCE retry_turns;
ALTER TABLE retries ADD COLUMN grp bigint NOT NULL DEFAULT 0;
ALTER TABLE retries ADD COLUMN turn bigint NOT NULL DEFAULT 0;
CREATE INDEX retries_in_order ON retries (sub, grp, turn, seq) WHERE grp <> 0;
