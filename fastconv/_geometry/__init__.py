"""What follows from sizes: axes, the layout of padded planes, which taps reach which pixels."""
