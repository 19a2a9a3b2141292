"""The command line `feelvos-lab`; no other package imports it."""
