"""Joules and instructions: meters, and readings that say where they come from and if they hold."""
