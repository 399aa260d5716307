"""Reading files of each format: NIfTI, MHA and NRRD strictly, ordinary images whatever their mode."""
