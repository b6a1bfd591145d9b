"""minAction inside other people's loops and trackers; each library is imported only on use."""
