"""Paired measurements; each writes JSON and a table."""
