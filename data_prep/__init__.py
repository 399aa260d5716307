"""Datalists for PU-UNet: one module per dataset, each run as ``python -m data_prep.<name>``.

Each module finds the images and masks of its dataset, checks every file, splits the cases and writes one JSON
datalist. The dataset itself is only read.
"""

from pu_unet_monai.interrupts import end_at_once, starts_program

if starts_program():
    end_at_once()
