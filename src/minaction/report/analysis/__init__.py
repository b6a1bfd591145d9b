"""A study analysed: which tests, on which runs, with what verdicts and warnings."""
