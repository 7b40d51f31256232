"""Benchmarks for asv (`bench_*.py`), and `tables.py`, which writes ratios to RESULTS.md."""
