"""A whole network for images that lie side by side, one in each lane of the vectors: batch-interleaved."""
