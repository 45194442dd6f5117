"""Rows of relation extraction: one Example type, readers that check what they read, corpora by name, and their card.
Imports `ground`.
"""
