-- The first shape of the journal. Moments are microseconds since 1970 UTC; money is text with two places.
-- `chain` is a SHA-256 over the intent and, link by link, over every amendment, attempt and piece of evidence after it,
-- all as they are stored. `money_order` and `payee` (a SHA-256 over merchant, card and amount) repeat the newest content;
-- `oid_paybill` and `settle_date` repeat what the evidence tells (see `rows.settled_by`): statements are held against them.

-- With a key, all entries of a payout are sealed by the one that `sealed_by` names: `content` stands for itself, for
-- `content_hash` (then empty) and for the caller's key; `key` and `payee` are MACs, for finding only; `seal` is a MAC over
-- chain and standing.

-- The keys that rows may be sealed by; the newest seals, and those before it are on their way out (a rotation ends
-- with it alone). Row 0 is no key: rows stand in the open. `proof` tells the right key, and covers the rows up to its own.
CREATE TABLE keys (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    salt BLOB NOT NULL,
    proof BLOB NOT NULL
) STRICT;

INSERT INTO keys (seq, id, salt, proof) VALUES (0, '', x'', x'');

-- A payout or an orphan that is being sealed anew; there is a row within such a transaction only.
CREATE TABLE resealing (
    kind TEXT NOT NULL CHECK (kind IN ('payout', 'orphan')),
    id INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE payouts (
    id INTEGER PRIMARY KEY,
    no_order TEXT NOT NULL UNIQUE,
    oid_partner TEXT NOT NULL,
    key TEXT,
    generation INTEGER NOT NULL,
    replaces INTEGER UNIQUE REFERENCES payouts (id),
    content TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    money_order TEXT NOT NULL CHECK (money_order GLOB '*[0-9].[0-9][0-9]' AND money_order NOT GLOB '*[^0-9.]*'),
    payee BLOB NOT NULL,
    created_us INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    due_us INTEGER,
    chain BLOB NOT NULL,
    sealed_by INTEGER NOT NULL,
    seal BLOB,
    oid_paybill TEXT,
    settle_date TEXT
) STRICT;

CREATE UNIQUE INDEX payouts_by_key ON payouts (oid_partner, key, generation) WHERE key IS NOT NULL;

CREATE INDEX payouts_by_state ON payouts (state, no_order, money_order);

CREATE INDEX payouts_by_payee ON payouts (payee, created_us);

-- What a day's statement must list, in the order of numbers; and what is paid on an unknown day, mostly nothing.
CREATE INDEX payouts_by_day ON payouts (oid_partner, settle_date, no_order, money_order, state, oid_paybill)
    WHERE settle_date IS NOT NULL;

CREATE INDEX payouts_undated ON payouts (oid_partner, no_order)
    WHERE settle_date IS NULL AND state IN ('PAID', 'REFUNDED');

-- `due` reads these two and the leases: newest unknown first, then whatever has waited longest.
CREATE INDEX payouts_due_unknown ON payouts (oid_partner, created_us DESC, no_order, due_us)
    WHERE state = 'UNKNOWN' AND due_us IS NOT NULL;

CREATE INDEX payouts_due_other ON payouts (oid_partner, due_us, no_order)
    WHERE state <> 'UNKNOWN' AND due_us IS NOT NULL;

-- Who is at a payout, until when. They come and go, and say nothing about money: no chain, no version.
CREATE TABLE leases (
    payout INTEGER PRIMARY KEY REFERENCES payouts (id),
    owner TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT;

-- A payout with what stands beside it.
CREATE VIEW records AS
SELECT p.id, p.no_order, p.oid_partner, p.key, p.generation, p.content, p.content_hash, p.created_us,
       p.version, p.state, p.step, p.due_us, p.chain, p.money_order, p.payee,
       (SELECT n.no_order FROM payouts AS n WHERE n.replaces = p.id) AS replaced_by,
       l.owner, l.since_us, l.until_us, p.sealed_by, p.seal, p.oid_paybill, p.settle_date
FROM payouts AS p LEFT JOIN leases AS l ON l.payout = p.id;

-- Corrected contents under the old number. `version` and `position` say which save brought an entry and where in it:
-- the order of writing.
CREATE TABLE amendments (
    payout INTEGER NOT NULL REFERENCES payouts (id),
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    content TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    by TEXT NOT NULL,
    PRIMARY KEY (payout, version, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    payout INTEGER NOT NULL REFERENCES payouts (id),
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    source TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    deadline_us INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (payout, version, position),
    UNIQUE (payout, source, number)
) STRICT, WITHOUT ROWID;

-- `said` is a JSON object of what the news said; a member that is absent was None.
CREATE TABLE evidence (
    payout INTEGER NOT NULL REFERENCES payouts (id),
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    source TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    asked_us INTEGER NOT NULL,
    attempt INTEGER,
    said TEXT NOT NULL,
    PRIMARY KEY (payout, version, position)
) STRICT, WITHOUT ROWID;

-- Pauses of new money and their lifting, one row each; the newest row of a merchant is in force.
CREATE TABLE breaker_events (
    seq INTEGER PRIMARY KEY,
    oid_partner TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('trip', 'reset')),
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    by TEXT NOT NULL
) STRICT;

CREATE INDEX breaker_events_by_partner ON breaker_events (oid_partner, seq);

-- Every save that brought a payout to another state or step, in the order of the saves.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    payout INTEGER NOT NULL REFERENCES payouts (id),
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL
) STRICT;

-- How far each subscriber has been told of the changes, and who tells it, until when.
CREATE TABLE subscribers (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    owner TEXT,
    until_us INTEGER
) STRICT, WITHOUT ROWID;

-- The changes behind that mark that a subscriber is to be told of again, from when on.
CREATE TABLE untold (
    name TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES changes (seq),
    tries INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    PRIMARY KEY (name, seq)
) STRICT, WITHOUT ROWID;

-- The next free turn to query, one row a merchant.
CREATE TABLE turns (
    oid_partner TEXT PRIMARY KEY,
    next_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Genuine notifications about numbers that are not among the payouts; `digest` is a SHA-256 over `said`, or a MAC.
CREATE TABLE orphans (
    id INTEGER PRIMARY KEY,
    oid_partner TEXT NOT NULL,
    no_order TEXT NOT NULL,
    digest TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    said TEXT NOT NULL,
    sealed_by INTEGER NOT NULL,
    UNIQUE (oid_partner, no_order, digest)
) STRICT;

CREATE INDEX orphans_by_moment ON orphans (oid_partner, at_us);

-- One row: the latest moment ever written.
CREATE TABLE newest (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at_us INTEGER
) STRICT;

INSERT INTO newest (id, at_us) VALUES (1, NULL);

-- What is written stays. These stop a careless hand; whoever removes them is found by the chain.

CREATE TRIGGER payouts_stay BEFORE DELETE ON payouts
BEGIN SELECT RAISE(ABORT, 'payouts are never deleted'); END;

CREATE TRIGGER payouts_once BEFORE INSERT ON payouts
WHEN EXISTS (SELECT 1 FROM payouts WHERE no_order = NEW.no_order OR id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a payout is written once'); END;

CREATE TRIGGER payouts_content_stays
BEFORE UPDATE OF id, no_order, oid_partner, generation, replaces, created_us ON payouts
BEGIN SELECT RAISE(ABORT, 'the content of a payout never changes'); END;

CREATE TRIGGER payouts_sealed_stay BEFORE UPDATE OF key, content, content_hash, sealed_by ON payouts
WHEN NOT EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'the content of a payout never changes'); END;

CREATE TRIGGER payouts_amount_stays BEFORE UPDATE OF money_order ON payouts
WHEN NOT EXISTS (SELECT 1 FROM amendments WHERE payout = NEW.id AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'an amount never changes without an amendment'); END;

CREATE TRIGGER payouts_payee_stays BEFORE UPDATE OF payee ON payouts
WHEN NOT EXISTS (SELECT 1 FROM amendments WHERE payout = NEW.id AND version = NEW.version)
    AND NOT EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a payee never changes without an amendment'); END;

CREATE TRIGGER payouts_settled_stays BEFORE UPDATE OF oid_paybill, settle_date ON payouts
WHEN (NEW.oid_paybill IS NOT OLD.oid_paybill OR NEW.settle_date IS NOT OLD.settle_date)
    AND NOT EXISTS (SELECT 1 FROM evidence WHERE payout = NEW.id AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'a bill and its day never change without evidence'); END;

CREATE TRIGGER payouts_count BEFORE UPDATE ON payouts
WHEN NEW.version <> OLD.version + 1 AND NOT (
    NEW.version = OLD.version AND NEW.state = OLD.state AND NEW.step = OLD.step AND NEW.due_us IS OLD.due_us
    AND NEW.money_order = OLD.money_order
    AND EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.id)
)
BEGIN SELECT RAISE(ABORT, 'the version of a payout rises by one'); END;

CREATE TRIGGER amendments_stay BEFORE DELETE ON amendments
BEGIN SELECT RAISE(ABORT, 'amendments are never deleted'); END;

CREATE TRIGGER amendments_fixed BEFORE UPDATE OF payout, version, position, at_us ON amendments
BEGIN SELECT RAISE(ABORT, 'amendments never change'); END;

CREATE TRIGGER amendments_sealed_stay BEFORE UPDATE OF content, content_hash, by ON amendments
WHEN NOT EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.payout)
BEGIN SELECT RAISE(ABORT, 'amendments never change'); END;

-- INSERT OR REPLACE deletes without asking the trigger above, hence a question before each insert.
CREATE TRIGGER amendments_once BEFORE INSERT ON amendments
WHEN EXISTS (
    SELECT 1 FROM amendments WHERE payout = NEW.payout AND version = NEW.version AND position = NEW.position
)
BEGIN SELECT RAISE(ABORT, 'an amendment is written once'); END;

CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts
BEGIN SELECT RAISE(ABORT, 'attempts are never deleted'); END;

CREATE TRIGGER attempts_fixed BEFORE UPDATE OF payout, version, position, number, source, started_us, deadline_us, owner ON attempts
BEGIN SELECT RAISE(ABORT, 'attempts never change'); END;

CREATE TRIGGER attempts_sealed_stay BEFORE UPDATE OF content_hash ON attempts
WHEN NOT EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.payout)
BEGIN SELECT RAISE(ABORT, 'attempts never change'); END;

CREATE TRIGGER attempts_once BEFORE INSERT ON attempts
WHEN EXISTS (
    SELECT 1 FROM attempts WHERE payout = NEW.payout AND (
        (version = NEW.version AND position = NEW.position) OR (source = NEW.source AND number = NEW.number)
    )
)
BEGIN SELECT RAISE(ABORT, 'an attempt is written once'); END;

CREATE TRIGGER evidence_stays BEFORE DELETE ON evidence
BEGIN SELECT RAISE(ABORT, 'evidence is never deleted'); END;

CREATE TRIGGER evidence_fixed BEFORE UPDATE OF payout, version, position, source, outcome, at_us, asked_us, attempt ON evidence
BEGIN SELECT RAISE(ABORT, 'evidence never changes'); END;

CREATE TRIGGER evidence_sealed_stays BEFORE UPDATE OF said ON evidence
WHEN NOT EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.payout)
BEGIN SELECT RAISE(ABORT, 'evidence never changes'); END;

CREATE TRIGGER evidence_once BEFORE INSERT ON evidence
WHEN EXISTS (
    SELECT 1 FROM evidence WHERE payout = NEW.payout AND version = NEW.version AND position = NEW.position
)
BEGIN SELECT RAISE(ABORT, 'evidence is written once'); END;

CREATE TRIGGER breaker_events_stay BEFORE DELETE ON breaker_events
BEGIN SELECT RAISE(ABORT, 'pauses are never deleted'); END;

CREATE TRIGGER breaker_events_fixed BEFORE UPDATE ON breaker_events
BEGIN SELECT RAISE(ABORT, 'pauses never change'); END;

CREATE TRIGGER breaker_events_once BEFORE INSERT ON breaker_events
WHEN EXISTS (SELECT 1 FROM breaker_events WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a pause is written once'); END;

CREATE TRIGGER changes_stay BEFORE DELETE ON changes
BEGIN SELECT RAISE(ABORT, 'changes are never deleted'); END;

CREATE TRIGGER changes_fixed BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'changes never change'); END;

CREATE TRIGGER changes_once BEFORE INSERT ON changes
WHEN EXISTS (SELECT 1 FROM changes WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a change is written once'); END;

CREATE TRIGGER orphans_stay BEFORE DELETE ON orphans
BEGIN SELECT RAISE(ABORT, 'orphans are never deleted'); END;

CREATE TRIGGER orphans_fixed BEFORE UPDATE OF id, oid_partner, no_order, at_us ON orphans
BEGIN SELECT RAISE(ABORT, 'orphans never change'); END;

CREATE TRIGGER orphans_sealed_stay BEFORE UPDATE OF digest, said, sealed_by ON orphans
WHEN NOT EXISTS (SELECT 1 FROM resealing WHERE kind = 'orphan' AND id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'orphans never change'); END;

CREATE TRIGGER orphans_once BEFORE INSERT ON orphans
WHEN EXISTS (
    SELECT 1 FROM orphans
    WHERE id = NEW.id OR (oid_partner = NEW.oid_partner AND no_order = NEW.no_order AND digest = NEW.digest)
)
BEGIN SELECT RAISE(ABORT, 'an orphan is written once'); END;

CREATE TRIGGER keys_stay BEFORE DELETE ON keys
WHEN EXISTS (SELECT 1 FROM payouts WHERE sealed_by = OLD.seq) OR EXISTS (SELECT 1 FROM orphans WHERE sealed_by = OLD.seq)
BEGIN SELECT RAISE(ABORT, 'a key is never deleted before what it sealed is sealed by another'); END;

CREATE TRIGGER keys_fixed BEFORE UPDATE OF seq, id, salt ON keys
BEGIN SELECT RAISE(ABORT, 'keys never change'); END;

CREATE TRIGGER keys_once BEFORE INSERT ON keys
WHEN EXISTS (SELECT 1 FROM keys WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a key is written once'); END;
