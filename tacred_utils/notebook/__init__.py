"""What a notebook holds in hand: the study object, findings, figures, tables, and the manifest of what it wrote.
Imports all other rooms but `sample`. CONTRIBUTING.md tells how a notebook is written.
"""
