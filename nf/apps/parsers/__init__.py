"""From the first payload of a flow to the name that it says. Pure: bytes in, names out."""
