"""Numbers of the PU-UNet paper (Li et al. 2026), tables 1, 2, 3 and 5: what ours stand beside."""

from __future__ import annotations

__all__ = ["ABLATIONS", "BASELINE", "EXCLUDING_NORMAL", "FALSE_POSITIVE_RATES", "GAINS", "PU_UNET"]

BASELINE = {
    "isic2018": {"dice": "0.877 [0.868, 0.885]", "iou": "0.801 [0.790, 0.812]"},
    "kvasir": {"dice": "0.902 [0.874, 0.925]", "iou": "0.839 [0.807, 0.868]"},
    "busi": {"dice": "0.814 [0.758, 0.867]", "iou": "0.733 [0.673, 0.787]"},
}
"""Residual U-Net, tables 2 and 3 (BUSI: including normal cases), with 95 % intervals."""

PU_UNET = {
    "isic2018": {"dice": "0.942 [0.937, 0.944]", "iou": "0.893 [0.887, 0.898]"},
    "kvasir": {"dice": "0.959 [0.956, 0.963]", "iou": "0.923 [0.916, 0.928]"},
    "busi": {"dice": "0.905 [0.876, 0.925]", "iou": "0.837 [0.804, 0.866]"},
}

GAINS = {
    "isic2018": {"dice": "0.065 [0.057, 0.071]", "iou": "0.092 [0.083, 0.100]"},
    "kvasir": {"dice": "0.057 [0.035, 0.084]", "iou": "0.084 [0.056, 0.114]"},
    "busi": {"dice": "0.091 [0.049, 0.138]", "iou": "0.105 [0.067, 0.149]"},
}

FALSE_POSITIVE_RATES = {"PU-UNet": 0.000, "Residual U-Net": 0.077}
"""BUSI, table 3."""

EXCLUDING_NORMAL = {
    "PU-UNet": {"dice": "0.925 [0.904, 0.939]", "iou": "0.867 [0.841, 0.887]"},
    "Residual U-Net": {"dice": "0.835 [0.787, 0.878]", "iou": "0.751 [0.699, 0.800]"},
    "difference": {"dice": "0.090 [0.055, 0.131]", "iou": "0.116 [0.079, 0.157]"},
}
"""BUSI trained and tested without normal cases, table 3."""

ABLATIONS = {
    "Residual U-Net (w/o product-unit)": {"isic2018": (0.877, 0.801), "kvasir": (0.902, 0.839), "busi": (0.814, 0.733)},
    "Bottleneck only": {"isic2018": (0.908, 0.862), "kvasir": (0.933, 0.852), "busi": (0.839, 0.761)},
    "Low-resolution stages (PU-UNet)": {"isic2018": (0.942, 0.893), "kvasir": (0.959, 0.923), "busi": (0.905, 0.837)},
    "All stages": {"isic2018": (0.930, 0.872), "kvasir": (0.939, 0.864), "busi": (0.857, 0.792)},
    "w/ simpler lower-bound truncation": {"isic2018": (0.937, 0.886), "kvasir": (0.941, 0.879), "busi": (0.831, 0.749)},
    "w/o log-domain clipping": {"isic2018": (0.933, 0.878), "kvasir": (0.935, 0.863), "busi": (0.826, 0.735)},
}
"""Dice and IoU, table 5; the last "exhibited gradient explosion during training"."""
