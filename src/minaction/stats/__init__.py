"""Statistics: tables in, tables out; no torch and no journal."""
