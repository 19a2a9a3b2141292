"""feelvos_lab: learn, take apart and re-run FEELVOS (Voigtlaender et al., CVPR 2019)."""

__version__ = "0.1.0"
