"""Use of trained models: sampling, encoding, decoding, interpolation, inversion and export."""
