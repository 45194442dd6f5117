"""Pure functions of gold and predicted labels: scores, intervals, groups, two stages composed, post-processing.
Imports `ground` and `corpora`.
"""
