-- The ledger's own name, by which a fleet's store tells the histories of its replicas apart.
CREATE TABLE identity (name TEXT NOT NULL);
INSERT INTO identity VALUES (lower(hex(randomblob(8))));
