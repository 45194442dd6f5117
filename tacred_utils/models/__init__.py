"""The four families: their settings, networks, pre-trained weights, training and scoring. torch is imported here only.

Imports `ground`, `corpora`, `inputs` and `metrics`.
"""
