"""Files and folders: atomic writes, locks, notebooks, provenance. Nothing here depends on video."""
