-- What the support agent did for customers, for whoever has to answer for it later.
CREATE TABLE actions (
    id serial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    customer text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('refund', 'ticket')),
    reference integer NOT NULL,
    order_number integer,
    amount_cents integer CHECK (amount_cents > 0),
    UNIQUE (kind, reference)
);
