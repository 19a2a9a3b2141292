"""The network, its parts and its weights. Imports neither data sets nor training."""
