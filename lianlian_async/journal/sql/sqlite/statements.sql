-- name: payout_by_number
-- The payout of one number.
SELECT * FROM records WHERE no_order = ?;

-- name: payout_by_key
-- The newest generation of one caller's key.
SELECT * FROM records WHERE oid_partner = ? AND key = ? ORDER BY generation DESC LIMIT 1;

-- name: payouts_page
-- One page in the order of numbers, of one merchant if it is given.
SELECT * FROM records WHERE no_order > ?1 AND (?2 IS NULL OR oid_partner = ?2) ORDER BY no_order LIMIT ?3;

-- name: payouts_page_of_state
-- One page of one state in the order of numbers, of one merchant if it is given.
SELECT * FROM records
WHERE state = ?1 AND no_order > ?2 AND (?3 IS NULL OR oid_partner = ?3)
ORDER BY no_order LIMIT ?4;

-- name: payouts_after
-- One stretch of the whole journal in the order of writing, to be checked.
SELECT * FROM records WHERE id > ? ORDER BY id LIMIT ?;

-- name: payout_beyond
-- Is there a payout more than so many?
SELECT 1 FROM payouts LIMIT 1 OFFSET ?;

-- name: payouts_of
-- Some payouts (a JSON array of ids), in no order.
SELECT * FROM records WHERE id IN (SELECT value FROM json_each(?));

-- name: keys
-- The keys that rows may be sealed by, the newest last.
SELECT seq, id, salt, proof FROM keys ORDER BY seq;

-- name: add_key
-- Let a key seal from here on.
INSERT INTO keys (seq, id, salt, proof) VALUES (?, ?, ?, ?);

-- name: set_proof
-- What tells the right key, once the rows before it are gone.
UPDATE keys SET proof = ? WHERE seq = ?;

-- name: retire_keys
-- Keys that seal nothing any more.
DELETE FROM keys WHERE seq < ?;

-- name: anything_written
-- Whether the journal holds anything that could be sealed.
SELECT EXISTS (SELECT 1 FROM payouts) OR EXISTS (SELECT 1 FROM orphans);

-- name: payouts_sealed_otherwise
-- One stretch of the payouts that another key than this one sealed.
SELECT id FROM payouts WHERE id > ? AND sealed_by <> ? ORDER BY id LIMIT ?;

-- name: orphans_sealed_otherwise
-- One stretch of the orphans that another key than this one sealed.
SELECT id FROM orphans WHERE id > ? AND sealed_by <> ? ORDER BY id LIMIT ?;

-- name: begin_resealing
-- From here on, in this transaction, this one may be sealed anew.
INSERT INTO resealing (kind, id) VALUES (?, ?);

-- name: end_resealing
-- And from here on not any more.
DELETE FROM resealing WHERE kind = ? AND id = ?;

-- name: reseal_payout
-- A payout's own row, sealed anew.
UPDATE payouts SET key = ?, content = ?, content_hash = ?, payee = ?, chain = ?, sealed_by = ?, seal = ? WHERE id = ?;

-- name: reseal_amendment
-- An amendment, sealed anew.
UPDATE amendments SET content = ?, content_hash = ?, by = ? WHERE payout = ? AND version = ? AND position = ?;

-- name: reseal_attempt
-- An attempt, sealed anew.
UPDATE attempts SET content_hash = ? WHERE payout = ? AND version = ? AND position = ?;

-- name: reseal_evidence
-- A piece of news, sealed anew.
UPDATE evidence SET said = ? WHERE payout = ? AND version = ? AND position = ?;

-- name: orphan
-- One orphan, to be sealed anew.
SELECT oid_partner, no_order, digest, at_us, said, sealed_by FROM orphans WHERE id = ?;

-- name: reseal_orphan
-- An orphan, sealed anew.
UPDATE orphans SET digest = ?, said = ?, sealed_by = ? WHERE id = ?;

-- name: twins_lately
-- The payouts of one payee that were asked for or last sent since a moment.
SELECT created_us, id, no_order, state, step FROM payouts INDEXED BY payouts_by_payee WHERE payee = ? AND last_us >= ?;

-- name: twins_that_may_move
-- The payouts of one payee that may still move money, whatever their age.
SELECT created_us, id, no_order, state, step FROM payouts INDEXED BY payouts_that_may_move
WHERE payee = ? AND NOT (step = 'NOTHING' AND state IN ('PAID', 'FAILED', 'CLOSED', 'REFUNDED'));

-- name: predecessors
-- The payouts that were replaced, one after the other, until one was put in their place; the latest first.
WITH RECURSIVE earlier (id, no_order, state, step, replaces, depth) AS (
    SELECT id, no_order, state, step, replaces, 0 FROM payouts WHERE no_order = ?
    UNION ALL
    SELECT p.id, p.no_order, p.state, p.step, p.replaces, depth + 1
    FROM earlier CROSS JOIN payouts AS p ON p.id = earlier.replaces
)
SELECT no_order, state, step FROM earlier WHERE depth > 0 ORDER BY depth;

-- name: payees_to_hash
-- Whether the payees of an earlier schema are still to be hashed anew.
SELECT EXISTS (SELECT 1 FROM unfinished WHERE what = 'payees');

-- name: payees_hashed
-- And they are.
DELETE FROM unfinished WHERE what = 'payees';

-- name: set_payee
-- The payee of a payout, hashed anew.
UPDATE payouts SET payee = ? WHERE id = ?;

-- name: amendments_of
-- The amendments of some payouts (a JSON array of ids), in the order of writing.
SELECT payout, version, position, content, content_hash, at_us, by
FROM amendments WHERE payout IN (SELECT value FROM json_each(?)) ORDER BY payout, version, position;

-- name: attempts_of
-- The attempts of some payouts (a JSON array of ids), in the order of writing.
SELECT payout, version, position, number, source, started_us, deadline_us, content_hash, owner
FROM attempts WHERE payout IN (SELECT value FROM json_each(?)) ORDER BY payout, version, position;

-- name: evidence_of
-- The evidence of some payouts (a JSON array of ids), in the order of writing.
SELECT payout, version, position, source, outcome, at_us, asked_us, attempt, said
FROM evidence WHERE payout IN (SELECT value FROM json_each(?)) ORDER BY payout, version, position;

-- name: add_payout
-- Write an intent down.
INSERT INTO payouts (no_order, oid_partner, key, generation, content, content_hash, created_us,
                     money_order, payee, version, state, step, due_us, chain, seal, sealed_by, replaces,
                     oid_paybill, settle_date, last_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?7);

-- name: add_amendment
-- Write corrected content down.
INSERT INTO amendments (payout, version, position, content, content_hash, at_us, by) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_attempt
-- Write an attempt down, before its first byte leaves.
INSERT INTO attempts (payout, version, position, number, source, started_us, deadline_us, content_hash, owner)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_evidence
-- Write a piece of news down.
INSERT INTO evidence (payout, version, position, source, outcome, at_us, asked_us, attempt, said)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: standing
-- What a save must know before it writes.
SELECT id, version, state, step, due_us, chain, sealed_by, seal, replaces, oid_paybill, settle_date
FROM payouts WHERE no_order = ?;

-- name: set_standing
-- How the payout stands after a save.
UPDATE payouts SET version = ?, state = ?, step = ?, due_us = ?, chain = ?, seal = ?, oid_paybill = ?, settle_date = ?
WHERE id = ?;

-- name: intent
-- What an amendment is held against: what a payout was at first.
SELECT no_order, oid_partner, key, generation, content, content_hash, created_us FROM payouts WHERE id = ?;

-- name: set_amended
-- How the payout stands after a save with an amendment.
UPDATE payouts SET money_order = ?, payee = ?, version = ?, state = ?, step = ?, due_us = ?, chain = ?, seal = ?,
                   oid_paybill = ?, settle_date = ?
WHERE id = ?;

-- name: due_send
-- One merchant's payouts that are to be sent, whose time has come and whom nobody is at, the earliest first.
SELECT id, no_order, due_us FROM payouts INDEXED BY payouts_due_send
WHERE oid_partner = ?1 AND step = 'SUBMIT' AND due_us IS NOT NULL AND due_us <= ?2
    AND NOT EXISTS (SELECT 1 FROM leases WHERE payout = payouts.id AND until_us > ?2)
ORDER BY due_us, no_order LIMIT ?3;

-- name: due_unknown
-- One merchant's unknown payouts that are to be asked about, likewise, the newest first.
SELECT id, no_order, due_us FROM payouts INDEXED BY payouts_due_unknown
WHERE oid_partner = ?1 AND state = 'UNKNOWN' AND step <> 'SUBMIT' AND due_us IS NOT NULL AND due_us <= ?2
    AND NOT EXISTS (SELECT 1 FROM leases WHERE payout = payouts.id AND until_us > ?2)
ORDER BY created_us DESC, no_order LIMIT ?3;

-- name: due_other
-- All other payouts of one merchant that are to be asked about, likewise, the earliest first.
SELECT id, no_order, due_us FROM payouts INDEXED BY payouts_due_other
WHERE oid_partner = ?1 AND state <> 'UNKNOWN' AND step <> 'SUBMIT' AND due_us IS NOT NULL AND due_us <= ?2
    AND NOT EXISTS (SELECT 1 FROM leases WHERE payout = payouts.id AND until_us > ?2)
ORDER BY due_us, no_order LIMIT ?3;

-- name: take_lease
-- Put a payout under a lease, or make it longer, unless another owner's is in force: then nothing is written.
INSERT INTO leases (payout, owner, since_us, until_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (payout) DO UPDATE SET
    owner = ?2,
    since_us = ?3,
    until_us = CASE WHEN until_us > ?3 THEN max(until_us, ?4) ELSE ?4 END
WHERE owner = ?2 OR until_us <= ?3;

-- name: release
-- End one owner's lease on a payout.
DELETE FROM leases WHERE payout = (SELECT id FROM payouts WHERE no_order = ?) AND owner = ?;

-- name: add_change
-- Write down that a save brought a payout to another state or step.
INSERT INTO changes (payout, version, state, step) VALUES (?, ?, ?, ?);

-- name: change_exists
-- Whether there is a change of this number.
SELECT 1 FROM changes WHERE seq = ?;

-- name: take_subscriber
-- Become the one who tells a subscriber, or stay it, unless another owner's lease is in force: then nothing is written.
INSERT INTO subscribers (name, seq, owner, until_us) VALUES (?1, 0, ?2, ?4)
ON CONFLICT (name) DO UPDATE SET
    owner = ?2,
    until_us = CASE WHEN until_us > ?3 THEN max(until_us, ?4) ELSE ?4 END
WHERE owner IS NULL OR owner = ?2 OR until_us <= ?3;

-- name: untold
-- The changes that a subscriber is to be told of again by now, the oldest first.
SELECT c.seq, p.no_order, c.version, c.state, c.step, u.tries
FROM untold AS u CROSS JOIN changes AS c ON c.seq = u.seq CROSS JOIN payouts AS p ON p.id = c.payout
WHERE u.name = ? AND u.due_us <= ? ORDER BY u.seq LIMIT ?;

-- name: changes_after
-- The changes that a subscriber has not been told of yet, the oldest first.
SELECT c.seq, p.no_order, c.version, c.state, c.step, 0
FROM changes AS c CROSS JOIN payouts AS p ON p.id = c.payout
WHERE c.seq > (SELECT seq FROM subscribers WHERE name = ?) ORDER BY c.seq LIMIT ?;

-- name: advance
-- A subscriber has been told of all changes up to this one.
INSERT INTO subscribers (name, seq) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq);

-- name: tell_again
-- A change is to be told again from a moment on.
INSERT INTO untold (name, seq, tries, due_us) VALUES (?, ?, 1, ?)
ON CONFLICT (name, seq) DO UPDATE SET tries = tries + 1, due_us = excluded.due_us;

-- name: forget_untold
-- A change need not be told again.
DELETE FROM untold WHERE name = ? AND seq = ?;

-- name: next_turn
-- The next free turn of one merchant.
SELECT next_us FROM turns WHERE oid_partner = ?;

-- name: set_next_turn
-- Move the next free turn of one merchant.
INSERT INTO turns (oid_partner, next_us) VALUES (?, ?) ON CONFLICT (oid_partner) DO UPDATE SET next_us = excluded.next_us;

-- name: orphan_known
-- Whether the same has been said about this number before.
SELECT 1 FROM orphans WHERE oid_partner = ? AND no_order = ? AND digest = ?;

-- name: add_orphan
-- Write a notification about an unknown number down.
INSERT INTO orphans (oid_partner, no_order, digest, at_us, said, sealed_by) VALUES (?, ?, ?, ?, ?, ?);

-- name: orphans_of_number
-- What has been said about one unknown number.
SELECT id, at_us, oid_partner, no_order, digest, at_us, said, sealed_by
FROM orphans WHERE oid_partner = ? AND no_order = ?;

-- name: orphans_of_partner
-- What has been said about unknown numbers of one merchant, the newest first.
SELECT id, at_us, oid_partner, no_order, digest, at_us, said, sealed_by
FROM orphans WHERE oid_partner = ? ORDER BY at_us DESC, id DESC LIMIT ?;

-- name: orphans_after
-- One stretch of all orphans in the order of writing, to be checked.
SELECT id, at_us, oid_partner, no_order, digest, at_us, said, sealed_by FROM orphans WHERE id > ? ORDER BY id LIMIT ?;

-- name: tally
-- Count and money by state, of one merchant if it is given; integers only, so that the sum is exact.
SELECT state, count(*), sum(CAST(replace(money_order, '.', '') AS INTEGER)) FROM payouts
WHERE ?1 IS NULL OR oid_partner = ?1
GROUP BY state;

-- name: newest
-- The latest moment ever written.
SELECT at_us FROM newest WHERE id = 1;

-- name: set_newest
-- Move the latest moment ahead, never back.
UPDATE newest SET at_us = ?1 WHERE id = 1 AND (at_us IS NULL OR at_us < ?1);

-- name: breaker
-- The newest pause or lifting of one merchant.
SELECT event, oid_partner, reason, at_us, by FROM breaker_events WHERE oid_partner = ? ORDER BY seq DESC LIMIT 1;

-- name: add_breaker_event
-- Write a pause or its lifting down.
INSERT INTO breaker_events (event, oid_partner, reason, at_us, by) VALUES (?, ?, ?, ?, ?);
