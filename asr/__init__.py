"""Earshot: train, evaluate and run compact speech recognisers of the LSTM family."""

__version__ = "0.1.0"
