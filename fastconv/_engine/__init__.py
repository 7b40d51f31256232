"""How the kernels are put to use: planes are laid out, scratch memory is allocated, one of several ways is taken."""
