"""Paired measurements; each writes JSON and a table."""

from pu_unet_monai.interrupts import one_line_interrupts, starts_program

if starts_program():
    one_line_interrupts()
