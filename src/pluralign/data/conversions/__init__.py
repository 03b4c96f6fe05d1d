"""Conversions: from records to the groups that a method trains on, one file each. Import from the files."""
