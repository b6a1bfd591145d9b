"""Networks only: nothing here knows of energy; the tape observes."""
