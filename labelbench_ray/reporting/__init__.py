"""Learning curves, tables and the report, from result rows alone."""
