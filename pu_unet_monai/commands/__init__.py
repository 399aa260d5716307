"""Commands of ``python -m pu_unet_monai``, one file each."""
