"""What is run to release the project; not part of the wheel."""
