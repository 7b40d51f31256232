"""How plans are carried out: planes are laid out, workspaces allocated, kernels called.

One text for Python, which runs it as it stands, and for users' jitted code, which calls what is compiled of it.
"""
