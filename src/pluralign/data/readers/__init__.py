"""Readers of files that others wrote, one file each; found by name through the registry."""
