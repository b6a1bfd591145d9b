"""The training objective: task loss + lambda * energy, and the rules that set lambda."""
