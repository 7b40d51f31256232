"""Machine code for wheels: `python -m fastconv._wheel` (not a part of them)."""
