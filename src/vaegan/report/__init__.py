"""Pages that open from the disk with no network: what a run is, how it went, what it draws."""
