"""Engines beside the files: what a collector sends elsewhere when one machine is too small."""
