"""The formulas of the metrics, from features, flow and pixels to numbers; neither networks nor files."""
