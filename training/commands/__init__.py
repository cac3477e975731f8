"""Verbs of the training side, one file each."""
