"""The command line: one file a command. Imported by `python -m feelvos_lab` and the script `feelvos-lab` alone."""
