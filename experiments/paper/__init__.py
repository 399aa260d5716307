"""The comparison of the PU-UNet paper, done again: trainings, statistics, and the page of results."""
