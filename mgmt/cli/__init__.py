"""The command line, ``snf``: one module a command."""
