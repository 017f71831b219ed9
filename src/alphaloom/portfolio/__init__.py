"""The portfolio room."""
