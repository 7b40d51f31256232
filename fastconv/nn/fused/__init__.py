"""Which layers run as one: pairs of them, and whole networks on batch-interleaved images."""
