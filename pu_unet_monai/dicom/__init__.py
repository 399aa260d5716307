"""DICOM in and out: series of slices as volumes, label maps as DICOM segmentations.

Needs highdicom, pydicom 3 and python-gdcm (the extra ``dicom``); nothing else of the package imports this one before a
DICOM study is met.
"""
