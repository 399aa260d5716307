"""How a trained network is loaded and run."""
