"""What flows are called, with a memory: names that payloads say, and what named flows teach of the others."""
