-- Single exchanges. An id begins with the time, so that the table is in order of time and old rows are at its front.
CREATE TABLE exchange (
    request_id      TEXT PRIMARY KEY NOT NULL,
    ts_unix_ms      INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    key             TEXT NOT NULL,
    owner           TEXT,
    project         TEXT,
    group_name      TEXT NOT NULL,
    api             TEXT NOT NULL,
    model_requested TEXT,
    model_upstream  TEXT,
    channel         TEXT NOT NULL,
    attempts        TEXT NOT NULL,
    stream          INTEGER NOT NULL,
    status          INTEGER NOT NULL,
    code            TEXT,
    end             TEXT NOT NULL,
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    cache_read      INTEGER NOT NULL,
    cache_write     INTEGER NOT NULL,
    reasoning       INTEGER NOT NULL,
    usage_source    TEXT NOT NULL,
    nano_usd        INTEGER,
    charged         INTEGER NOT NULL,
    bill            TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Sums by the hour in which the exchanges began; an empty text: not known, or none.
CREATE TABLE sums (
    hour_unix    INTEGER NOT NULL,
    key          TEXT NOT NULL,
    owner        TEXT NOT NULL,
    project      TEXT NOT NULL,
    group_name   TEXT NOT NULL,
    model        TEXT NOT NULL,
    channel      TEXT NOT NULL,
    requests     INTEGER NOT NULL,
    charged      INTEGER NOT NULL,
    input        INTEGER NOT NULL,
    output       INTEGER NOT NULL,
    cache_read   INTEGER NOT NULL,
    cache_write  INTEGER NOT NULL,
    reasoning    INTEGER NOT NULL,
    nano_usd     INTEGER NOT NULL,
    unknown_cost INTEGER NOT NULL,
    PRIMARY KEY (hour_unix, key, owner, project, group_name, model, channel)
) STRICT, WITHOUT ROWID;

-- The names of sums that were written without their exchanges, so that none is added twice.
CREATE TABLE fold (
    name TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;
