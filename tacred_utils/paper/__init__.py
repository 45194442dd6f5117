"""What is published: the paper's tables, other systems' figures and predictions, and the claims with their verdicts.
Imports `ground`, `corpora`, `inputs`, `metrics` and `runs`, no model.
"""
