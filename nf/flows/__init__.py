"""Activity of flows: the book of those present, and the differences of an interval, in columns."""
