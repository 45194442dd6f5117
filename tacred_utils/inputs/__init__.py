"""What a model reads of an Example: sparse features, words and positions, subwords and entity marks, word vectors.
Imports `ground` and `corpora`.
"""
