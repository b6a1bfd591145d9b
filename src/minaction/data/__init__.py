"""Data sets: where they come from, how they are read, and the value every model trains on."""
