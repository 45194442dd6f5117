"""What a model reads of an Example: sparse features, ids and positions of words, subwords and entity marks, word vectors.
Imports `ground` and `corpora`.
"""
