"""The three set-ups of "Brain Tumor Segmentation on the Basis of a U-Net Architecture", on a common footing.

2D slices, 3D minicubes, and 3D minicubes with context; and the report's own recipe as the control.
"""
