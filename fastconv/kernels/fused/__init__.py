"""Whole small networks in the batch-interleaved layout: LANES images, one in each lane of the vectors."""
