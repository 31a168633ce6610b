"""The wire: who may come in, and how messages come and go."""
