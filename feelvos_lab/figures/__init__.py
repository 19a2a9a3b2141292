"""Figures: functions from data to a matplotlib Figure; nothing is computed here but colours."""
