"""Architecture search under energy: proposes configurations, runs them through `study`."""
