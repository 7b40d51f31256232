"""The modules that the chapters share."""
