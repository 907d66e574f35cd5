"""How tokens are kept fresh: one feed for each scope and identity in a process, whoever uses it."""
