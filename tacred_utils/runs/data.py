"""The one door to data: a corpus by name, read or generated, with one revision of its labels, whole or cut."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tacred_utils.corpora.derived import relabelled, subset, with_negative
from tacred_utils.corpora.example import Corpus
from tacred_utils.corpora.reader import assemble
from tacred_utils.corpora.registry import SAMPLE, data_folder, read_corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import LABEL_SETS, SPLITS
from tacred_utils.sample.generator import generate


def load_corpus(
    name: str,
    data_dir: Path | str | None = None,
    labels: str = "tacred",
    scales: Mapping[str, float] | None = None,
    negative: str | None = None,
) -> Corpus:
    """Load a registered corpus, or any folder in TACRED's format, with one of the label sets.

    `scales` gives each split's size as a share of TACRED's: `sample` is generated at that size, any other corpus is
    cut to a stratified subset of it, which `Corpus.subset` states; None takes everything. `negative` is what the corpus
    calls `no_relation`, if another name. Raises `UserError` for an unknown name, missing or damaged files, a folder
    that is not what it is named, and patches that do not fit.
    """
    if labels not in LABEL_SETS:
        raise UserError(f"--labels {labels}: unknown label set; choose one of {', '.join(LABEL_SETS)}.")
    data, generated = data_folder(data_dir), name == SAMPLE
    if generated:
        corpus = assemble(SAMPLE, generate(scales or dict.fromkeys(SPLITS, 1.0)), SAMPLE)
    else:
        corpus = read_corpus(name, data)
    if labels != "tacred":
        corpus = relabelled(corpus, labels, data)
    corpus = replace(with_negative(corpus, negative), data=data)
    return subset(corpus, scales) if scales and not generated else corpus
