"""Looking at a bundle, or at files from strangers, without running anything in them."""
