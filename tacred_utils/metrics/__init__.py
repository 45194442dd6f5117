"""Pure functions over gold and predicted labels: scores, intervals, groups of rows, two stages composed, post-processing.
Imports `ground` and `corpora`.
"""
