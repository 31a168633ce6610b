"""Parts of the settings: each module puts one in force and returns the way back."""
