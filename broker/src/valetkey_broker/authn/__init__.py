"""Who calls: turns the evidence that comes with a call into a principal."""
