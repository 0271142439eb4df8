"""Ways to run many `train()`s; each yields (job, record) pairs and gives the same numbers."""
