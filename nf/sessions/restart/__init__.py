"""Sessions over a restart: one process writes them down, the next one reads them."""
