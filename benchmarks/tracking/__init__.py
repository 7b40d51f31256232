"""How two commits are compared: their builds, their processes, the judgement, asv's results."""
