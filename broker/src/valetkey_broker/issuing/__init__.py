"""Issuing: parse, authorise, choose the connector, sign, record, answer."""
