"""Names of flows, with a memory: names in payloads, and lessons of named flows for the others."""
