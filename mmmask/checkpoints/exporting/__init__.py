"""One module for each encoder family that is exported."""
