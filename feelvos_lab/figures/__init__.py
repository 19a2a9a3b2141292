"""Draw; measure nothing. Every function returns a matplotlib Figure."""
