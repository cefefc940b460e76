"""Numbers about generated pictures, each beside what real pictures get."""
