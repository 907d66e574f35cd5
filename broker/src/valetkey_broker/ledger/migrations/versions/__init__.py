"""One module a step; a step, once released, is never changed.

A step only adds: tables, indexes, and columns with a default, so that brokers of the release before go on recording
beside newer ones, and start again after a step back. One that they could not bear begins the next thousand, `1000`:
they refuse to start on its tables.
"""
