"""DICOM in and out: series of slices as volumes, label maps as DICOM segmentations.

Needs highdicom, pydicom 3 and python-gdcm (the extra ``dicom``); nothing else of the package imports this one before a
DICOM study is met.
"""

import warnings

import pydicom

# pydicom's warnings about unusual values would print them, and they may tell who the patient is
warnings.filterwarnings("ignore", message="Unknown encoding")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
