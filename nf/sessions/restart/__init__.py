"""Sessions over a restart: what is written for the next process, and how that knows them again."""
