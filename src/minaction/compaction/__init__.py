"""From silent units to a smaller network that computes the same, and its export."""
