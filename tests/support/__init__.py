"""Fakes for tests. They keep the contracts of what they stand for."""
