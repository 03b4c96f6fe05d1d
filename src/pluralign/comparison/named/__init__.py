"""Comparisons by name: the designs of published papers, on given data."""
