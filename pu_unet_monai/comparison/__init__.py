"""Trainings that differ in named options alone, side by side: what ``python -m pu_unet_monai compare`` runs."""
