"""What is trained and where it is kept: profiles, declared experiments, run folders, prediction files, predicting anew.
Imports all rooms above it in the README's list: `ground` to `models`.
"""
