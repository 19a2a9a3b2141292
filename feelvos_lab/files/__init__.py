"""Files and folders: written in one step, locked, described. Nothing here knows about video."""
