"""Quality: what the data can teach, what to label next, what to leave out; one file per question. Import from the files."""
