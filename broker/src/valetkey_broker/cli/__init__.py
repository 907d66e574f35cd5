"""The broker's own command line: serve, health, check-config, migrate, check-state, bootstrap, dev."""
