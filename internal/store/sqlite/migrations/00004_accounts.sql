-- +goose Up

-- Numbers of accounts, 0 being none: whose connected account it is, which
-- organisation it is a member of, and which account it is a sandbox of. An
-- organisation is an account itself.
ALTER TABLE accounts ADD COLUMN platform INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN organization INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN sandbox_of INTEGER NOT NULL DEFAULT 0;
-- config_version of the last change, of its keys too.
ALTER TABLE accounts ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX accounts_by_version ON accounts (version);

ALTER TABLE api_keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN grants TEXT NOT NULL DEFAULT ''; -- what a restricted key may do
ALTER TABLE api_keys ADD COLUMN expires INTEGER NOT NULL DEFAULT 0; -- 0: never
ALTER TABLE api_keys ADD COLUMN last_used INTEGER NOT NULL DEFAULT 0;
CREATE INDEX api_keys_by_account ON api_keys (account);

-- Append-only: who changed what.
CREATE TABLE audit_log (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    scope      INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL, -- the key's id, or '' for the command line
    hint       TEXT    NOT NULL,
    verb       TEXT    NOT NULL,
    object     TEXT    NOT NULL,
    fields     TEXT    NOT NULL, -- names, separated by spaces
    ip         TEXT    NOT NULL,
    request    TEXT    NOT NULL,
    user_agent TEXT    NOT NULL
);
CREATE INDEX audit_log_by_scope ON audit_log (scope, number);
CREATE INDEX audit_log_by_age ON audit_log (at);
