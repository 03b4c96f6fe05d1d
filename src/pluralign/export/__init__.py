"""Leaving pluralign: a policy as plain models and adapters that other programs read."""
