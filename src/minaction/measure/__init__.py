"""What can be measured on this machine, and measuring it."""
