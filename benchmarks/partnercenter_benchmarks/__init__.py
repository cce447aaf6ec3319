"""Measures the tap beside a stock tap, dlt and bare threads, against an emulated Partner Center."""
