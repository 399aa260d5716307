"""What a result is worth and how it is shown."""
