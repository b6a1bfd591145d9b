"""The report: records to findings, figures and one self-contained page; no torch."""
