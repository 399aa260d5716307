"""DICOM in and out: series of slices as volumes, label maps as DICOM segmentations.

Needs ``pip install "pu-unet-monai[dicom]"``; nothing else of the package imports this one before a DICOM study is met.
"""
