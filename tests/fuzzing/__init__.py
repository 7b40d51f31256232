"""Hunts for what no list of cases holds: random networks, calls, files, caches, threads and forks.

`PYTHONPATH=tests python -m fuzzing --help`. Not part of the test suite: the short forms are run beside it, the long
ones by hand, which is where the counts of `fastconv/docs/promises.md` come from.
"""
