-- Sends and queries are claimed apart, so that a backlog of the one holds up none of the other: an index for each order.
DROP INDEX payouts_due_unknown;

DROP INDEX payouts_due_other;

-- What is to be sent, the earliest first.
CREATE INDEX payouts_due_send ON payouts (oid_partner, due_us, no_order)
    WHERE step = 'SUBMIT' AND due_us IS NOT NULL;

-- What is to be asked about: newest unknown first, then whatever has waited longest.
CREATE INDEX payouts_due_unknown ON payouts (oid_partner, created_us DESC, no_order, due_us)
    WHERE state = 'UNKNOWN' AND step <> 'SUBMIT' AND due_us IS NOT NULL;

CREATE INDEX payouts_due_other ON payouts (oid_partner, due_us, no_order)
    WHERE state <> 'UNKNOWN' AND step <> 'SUBMIT' AND due_us IS NOT NULL;
