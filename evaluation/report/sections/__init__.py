"""The parts of a report, one file each: from runs and results to text, tables, charts and videos."""
