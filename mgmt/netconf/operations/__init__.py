"""The operations, by family: each module has a function that returns its rows of the dispatcher's table."""
