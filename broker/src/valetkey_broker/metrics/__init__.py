"""Metrics: what is told of each worker, and the port on which all of them are told together."""
