"""The commands of the program, one file per subject; `minaction.cli` puts them together."""
