"""From the first payload packets of a flow to the name of its application, and the ground of that name."""
