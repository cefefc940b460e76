"""The networks. No other room knows layers."""
