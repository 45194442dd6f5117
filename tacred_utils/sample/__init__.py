"""The synthetic corpus: a grammar, sentences made from it, and `generate`, the one door. Imports `ground` and `corpora`."""
