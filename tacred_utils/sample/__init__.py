"""The synthetic corpus: a grammar, sentences of it, and `generate`, the one door. Imports `ground` and `corpora`."""
