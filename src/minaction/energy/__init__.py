"""What energy is: the tape that observes a forward pass and the functionals defined on it."""
