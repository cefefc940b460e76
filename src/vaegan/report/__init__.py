"""HTML reports that need no network: the report of a run, and the charts that evaluations use too."""
