"""Machine code for wheels: `python -m fastconv._build` (not a part of them)."""
