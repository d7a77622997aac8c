"""A run in a folder: written so that it can be read whenever it is killed."""
