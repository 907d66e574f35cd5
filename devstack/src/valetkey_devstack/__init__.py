"""A whole Valet Key stack on one machine, out of real parts: for trying things out, for the demo and for tests."""
