"""Studies: from a study file to a journal of runs."""
