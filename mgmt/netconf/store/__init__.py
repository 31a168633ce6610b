"""The configuration: how it is edited, put in force, kept on disk, and who may change it now."""
