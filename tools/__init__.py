"""What is run to release the project; not part of the wheel."""

from pu_unet_monai.interrupts import one_line_interrupts, starts_program

if starts_program():
    one_line_interrupts()
