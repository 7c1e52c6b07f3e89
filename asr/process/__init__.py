"""Holds what every program shares: its start and end, its signals, its place among other processes."""
