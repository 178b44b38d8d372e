"""Engines: one file for each way to ask a model."""
