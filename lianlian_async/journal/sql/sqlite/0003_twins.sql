-- A payout counts as a twin by when it was last sent, not only by when it was asked for; and as long as it may move money,
-- whatever its age. `last_us` is when it was asked for, or the beginning of its newest attempt.

-- What a migration has left to whoever opens the journal next with its key: a hash cannot be made in SQL, nor a MAC.
-- 'payees': those of accounts that are written with dashes are to be hashed anew, without them.
CREATE TABLE unfinished (
    what TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT INTO unfinished (what) VALUES ('payees');

-- Only `last_us` moves with an attempt, and not with a version of its own.
DROP TRIGGER payouts_count;

ALTER TABLE payouts ADD COLUMN last_us INTEGER;

UPDATE payouts SET last_us = max(
    created_us, coalesce((SELECT max(a.started_us) FROM attempts AS a WHERE a.payout = payouts.id), created_us)
);

CREATE TRIGGER payouts_count
BEFORE UPDATE OF id, no_order, oid_partner, key, generation, replaces, content, content_hash, money_order, payee,
    created_us, version, state, step, due_us, chain, sealed_by, seal, oid_paybill, settle_date ON payouts
WHEN NEW.version <> OLD.version + 1 AND NOT (
    NEW.version = OLD.version AND NEW.state = OLD.state AND NEW.step = OLD.step AND NEW.due_us IS OLD.due_us
    AND NEW.money_order = OLD.money_order
    AND EXISTS (SELECT 1 FROM resealing WHERE kind = 'payout' AND id = OLD.id)
)
BEGIN SELECT RAISE(ABORT, 'the version of a payout rises by one'); END;

-- Also against a process of an earlier version that still runs on this file: it would hash payees in the old way.
CREATE TRIGGER payouts_last_given BEFORE INSERT ON payouts
WHEN NEW.last_us IS NOT NEW.created_us
BEGIN SELECT RAISE(ABORT, 'a new payout was last asked for when it was created'); END;

CREATE TRIGGER payouts_last_rises BEFORE UPDATE OF last_us ON payouts
WHEN NEW.last_us IS NULL OR NEW.last_us < OLD.last_us
BEGIN SELECT RAISE(ABORT, 'when a payout was last sent never lies further back'); END;

CREATE TRIGGER attempts_move_last AFTER INSERT ON attempts
BEGIN UPDATE payouts SET last_us = NEW.started_us WHERE id = NEW.payout AND last_us < NEW.started_us; END;

DROP INDEX payouts_by_payee;

CREATE INDEX payouts_by_payee ON payouts (payee, last_us);

CREATE INDEX payouts_that_may_move ON payouts (payee)
    WHERE NOT (step = 'NOTHING' AND state IN ('PAID', 'FAILED', 'CLOSED', 'REFUNDED'));

DROP VIEW records;

-- A payout with what stands beside it.
CREATE VIEW records AS
SELECT p.id, p.no_order, p.oid_partner, p.key, p.generation, p.content, p.content_hash, p.created_us,
       p.version, p.state, p.step, p.due_us, p.chain, p.money_order, p.payee,
       (SELECT n.no_order FROM payouts AS n WHERE n.replaces = p.id) AS replaced_by,
       l.owner, l.since_us, l.until_us, p.sealed_by, p.seal, p.last_us,
       p.oid_paybill, p.settle_date
FROM payouts AS p LEFT JOIN leases AS l ON l.payout = p.id;
