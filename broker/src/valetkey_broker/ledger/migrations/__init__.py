"""The ledger's migrations, run by the broker when it starts."""
