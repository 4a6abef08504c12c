"""Decisions as pure functions of their arguments: no clock, no chance, no network."""
