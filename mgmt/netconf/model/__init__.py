"""The YANG modules, compiled: what a node is, whether a value or a tree is valid, what an error says."""
