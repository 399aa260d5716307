"""What produces the numbers in ``docs/results.md``."""
