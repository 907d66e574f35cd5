"""What the broker knows: documents in Vault, a copy of them in memory, and the generation that keeps them equal."""
