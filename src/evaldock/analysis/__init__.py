"""Statistics, tables and reports over results."""
