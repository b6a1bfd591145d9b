"""A study on paper: its figures as vector PDFs, its tables as LaTeX and CSV, their captions."""
