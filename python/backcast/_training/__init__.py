"""Training: one loop for arrays and for batches, its hooks, progress and advice."""
