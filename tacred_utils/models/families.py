"""The families by name; each is imported when it is first asked for, here and nowhere else: torch takes seconds."""

from types import ModuleType


def family(name: str) -> ModuleType:
    """The module of a family: `fit(corpus, task, settings, seed, folder)` gives a `FitResult`, `load(folder)` a model
    that scores Examples.
    """
    match name:
        case "svm":
            from tacred_utils.models import svm

            return svm
        case "bilstm":
            from tacred_utils.models import bilstm

            return bilstm
        case "bert" | "gpt2":
            from tacred_utils.models import transformer

            return transformer
    raise KeyError(name)
