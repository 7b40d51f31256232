"""Benchmarks for asv (`bench_*.py`), and `tables.py`, which writes the ratios of the README."""
