"""What callers give: arrays, sizes, scalars and names, checked once, with the texts of their errors."""
