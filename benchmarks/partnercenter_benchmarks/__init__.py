"""Measures the tap and its peers against an emulated Partner Center."""
