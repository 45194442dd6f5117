"""The model families; each module has `fit(corpus, task, settings, seed) -> Outcome`."""
