"""Features: what each block says of a hand-made pair, and the matrix made of them."""

import numpy as np
import pytest
from msgspec.structs import replace

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.inputs.features import (
    BLOCKS,
    Pair,
    extract,
    feature_counts,
    head_word,
    mirrored,
    shape,
    shortest_path,
    stem,
    turned,
    usable,
)

#  Mary  Smith  was   born  in    Paris  ,     she   said  .
HEADS = [2, 4, 4, 9, 6, 4, 9, 9, 0, 9]
EXAMPLE = Example(
    "a", "per:city_of_birth", ["Mary", "Smith", "was", "born", "in", "Paris", ",", "she", "said", "."],
    0, 1, 5, 5, "PERSON", "CITY",
    ["NNP", "NNP", "VBD", "VBN", "IN", "NNP", ",", "PRP", "VBD", "."],
    ["PERSON", "PERSON", "O", "O", "O", "LOCATION", "O", "O", "O", "O"], HEADS,
    ["compound", "nsubjpass", "auxpass", "ccomp", "case", "nmod", "punct", "nsubj", "ROOT", "punct"],
)  # fmt: skip


def made(block: str, example: Example = EXAMPLE) -> list[str]:
    return list(BLOCKS[block].make(Pair(example)))


def corpus(*relations: str) -> Corpus:
    rows = [replace(EXAMPLE, id=str(i), relation=relation) for i, relation in enumerate(relations)]
    return Corpus("tiny", rows, rows[:2], rows[:1])


def test_words_between_carry_order_and_place() -> None:
    between = made("between")
    assert {"SO born", "SO 1 was", "SO -1 in", "SO ~ born in", "SUBJ was born", "<s> SUBJ", "OBJ ,"} <= set(between)
    assert not any("said" in feature for feature in between)
    assert made("bag") == ["SO right ,", "SO right she", "SO right said", "SO right ."]


def test_the_order_of_the_mentions_changes_the_features() -> None:
    turned_round = set(made("between", mirrored(EXAMPLE)))
    assert "OBJ was born" in turned_round and "OS born" in turned_round
    assert not any(feature.startswith("SO") or "SUBJ was" in feature for feature in turned_round)


def test_mention_and_types() -> None:
    assert {"S smith", "S head smith", "S all mary smith", "O head paris"} <= set(made("mention"))
    assert {"PERSON>CITY", "PERSON>CITY SO"} <= set(made("types"))
    assert "PERSON>CITY SO born" in made("typed")


def test_shortest_path_by_hand() -> None:
    assert head_word(0, 1, HEADS) == 1
    assert shortest_path(1, 5, HEADS) == ([1, 3], [3, 5])
    path = made("path")
    assert {"top born", "<nsubjpass nmod>", "<nsubjpass born nmod>", "PERSON>CITY born", "length 2"} <= set(path)
    assert path.count("born") == 1


@pytest.mark.parametrize("heads", [[2, 1, 0], [0, 0, 0], [1, 2, 3]], ids=["cycle", "two trees", "own heads"])
def test_a_broken_tree_has_no_path_and_does_not_hang(heads: list[int]) -> None:
    assert shortest_path(0, 2, heads) == ([], [])
    example = Example("x", "r", ["a", "b", "c"], 0, 0, 2, 2, "A", "B", None, None, heads, ["d"] * 3)
    assert made("path", example) == ["none"]


def test_path_upwards_downwards_and_of_one_word() -> None:
    chain = [2, 3, 0]
    assert shortest_path(0, 2, chain) == ([0, 1, 2], [2])
    assert shortest_path(2, 0, chain) == ([2], [2, 1, 0])
    assert shortest_path(1, 1, chain) == ([1], [1])


def test_overlapping_and_adjacent_mentions_have_nothing_between() -> None:
    for subject, object_ in (((0, 1), (1, 2)), ((0, 3), (1, 2)), ((1, 2), (1, 2)), ((2, 2), (1, 1))):
        example = replace(EXAMPLE, subj_start=subject[0], subj_end=subject[1], obj_start=object_[0], obj_end=object_[1])
        assert any("nothing" in feature for feature in made("between", example))
        for block in BLOCKS:
            made(block, example)


def test_paper_blocks_keep_repetitions_and_drop_stop_words_digits_and_punctuation() -> None:
    example = replace(EXAMPLE, token=["The", "Bank", ",", "the", "bank", "of", "1998", "in", "Bank", "3M", "!"][:10])
    assert made("paper_words", example) == ["bank", "bank", "bank"]
    counts = feature_counts([example], {"paper_words": {"bank": 0}})
    assert counts.toarray().tolist() == [[3.0]]
    assert made("paper_types") == ["PERSON", "CITY"]


def test_stem_and_shape() -> None:
    assert [stem(word) for word in ("Founded", "founders", "as", "1998")] == ["found", "found", "as", "0000"]
    assert [shape(word) for word in ("Inc.", "IBM", "1998", "Élan", "3M")] == ["Xx.", "X", "0", "x", "0X"]


def test_missing_columns_drop_their_blocks() -> None:
    used, lacking = usable(["mention", "types", "pos", "path"], {"stanford_pos", "stanford_head"})
    assert used == ["mention", "pos"]
    assert lacking == {"types": "types", "path": "stanford_deprel"}


def test_mirror_is_its_own_inverse_and_turns_the_label() -> None:
    directed = replace(EXAMPLE, relation="per:spouse(e1,e2)")
    assert mirrored(directed).relation == "per:spouse(e2,e1)"
    assert (mirrored(directed).subj_start, mirrored(directed).obj_end) == (5, 1)
    assert mirrored(mirrored(directed)) == directed
    assert turned("no_relation") == "no_relation"


def test_vocabulary_comes_from_training() -> None:
    train = [EXAMPLE, replace(EXAMPLE, id="b"), replace(EXAMPLE, id="c", token=["Anna", *EXAMPLE.token[1:]])]
    tiny = Corpus("tiny", train, [replace(EXAMPLE, token=["Unseen"] * 10)], train)
    features = extract(tiny, ["mention"], mirror=False)
    assert {"S mary", "S anna"} <= set(features.names) and set(features.blocks) == {"mention"}
    assert features.rows["dev"].nnz == 0
    assert np.array_equal(features.rows["test"].toarray(), features.rows["train"].toarray())
    column = features.names.index("S head smith")
    assert features.rows["train"][:, column].toarray().ravel().tolist() == [1, 1, 1]
    turned_round = extract(tiny, ["mention"], mirror=True)
    assert turned_round.rows["train"].shape == turned_round.rows["mirror"].shape == (3, len(turned_round.names))
    assert "S head paris" in turned_round.names and "S head paris" not in features.names


def test_extraction_is_kept_for_the_same_corpus_only() -> None:
    first, second = corpus("a", "b"), corpus("a", "b")
    kept = extract(first, ["mention"], False)
    assert extract(first, ["mention"], False) is kept
    assert extract(first, ["mention", "bag"], False) is not kept
    assert extract(second, ["mention"], False) is not kept


def test_long_sentences_are_no_problem() -> None:
    words = 10_000
    chain = replace(
        EXAMPLE, token=["word"] * words, obj_start=words - 1, obj_end=words - 1, stanford_pos=["NN"] * words,
        stanford_ner=["O"] * words, stanford_head=[*range(2, words + 1), 0], stanford_deprel=["dep"] * words,
    )  # fmt: skip
    for block in BLOCKS:
        assert len(made(block, chain)) < 20 * words
