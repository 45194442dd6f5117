"""The synthetic corpus: annotated templates, sentences of them, and `generate`, the one door. Imports `ground`, `corpora`."""
