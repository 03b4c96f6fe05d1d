"""Methods side by side: the same data, model, budget and judge for each, every row in a process of its own."""
