"""The model families; each module has what `runs.MODULES` says."""
