"""One part of the settings a module: how it is put in force, and how that is undone."""
