"""How compiled code is made, kept on disk, linked and run on threads."""
