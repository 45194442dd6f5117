"""The readers of KBP37 and CoNLL04: spans, types, and what is left out."""

import json
from collections import Counter

import pytest

from tacred_utils.corpora import formats
from tacred_utils.corpora.example import Corpus, card
from tacred_utils.corpora.formats import read_conll04, read_kbp37
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS

KBP37 = '0\t" <e1> Ann Lee </e1> runs <e2> Acme </e2> . "\nper:employee_of(e1,e2) \n\n\n1\t" The <e2> </e2> of <e1> Rome </e1> . "\nno_relation\n'
CONLL04 = """#doc 7
0\tAnn\tB-Peop\t['N']\t[0]
1\tLee\tI-Peop\t['Live_In', 'Work_For']\t[3, 5]
2\tof\tO\t['N']\t[2]
3\tRome\tB-Loc\t['N']\t[3]
4\tat\tO\t['N']\t[4]
5\tAcme\tB-Org\t['OrgBased_In']\t[7]
6\tin\tO\t['N']\t[6]
7\tItaly\tI-Loc\t['N']\t[7]
"""


def written(folder, text: str):
    """A folder with this text as each of its three files."""
    for split in SPLITS:
        (folder / f"{split}.txt").write_bytes(text.encode())
    return folder


def test_kbp37_records_and_what_is_left_out(tmp_path):
    splits, notes, left_out = read_kbp37(written(tmp_path, KBP37.replace("\n", "\r\n")))
    [example] = splits["train"]
    assert example.token == ["Ann", "Lee", "runs", "Acme", "."] and example.id == "kbp37-train-0"
    assert (example.subj_start, example.subj_end, example.obj_start, example.obj_end) == (0, 1, 3, 3)
    assert example.relation == "per:employee_of(e1,e2)"  # without the trailing space
    assert notes[0] == "train.txt: 1 sentences with an empty mention left out"
    assert left_out == dict.fromkeys(SPLITS, ["no_relation"])


def test_letters_with_accents_are_one(tmp_path):
    [example] = read_kbp37(written(tmp_path, KBP37.replace("Ann", "Rene\u0301e"))).splits["train"]
    assert example.token[:2] == ["Ren\u00e9e", "Lee"] and example.subject == (0, 1)


def test_conll04_pairs_and_what_is_left_out(tmp_path):
    splits, notes, _ = read_conll04(written(tmp_path, CONLL04))
    examples = splits["dev"]
    labels = {(e.subj_start, e.obj_start): e.relation for e in examples}
    assert labels == {
        (0, 3): "Live_In", (0, 5): "Work_For", (3, 0): NO_RELATION, (3, 5): NO_RELATION, (5, 0): NO_RELATION, (5, 3): NO_RELATION,
    }  # fmt: skip
    assert notes[2:4] == [
        "dev.txt: 1 words tagged I- outside an entity are no entity",
        "dev.txt: 1 relations point to no entity and are left out",
    ]
    assert examples[0].stanford_ner == ["Peop", "Peop", "O", "Loc", "O", "Org", "O", "O"], (
        "all entities of the sentence are told"
    )
    assert (examples[0].subj_end, examples[0].subj_type, examples[0].obj_type) == (1, "Peop", "Loc")


def mention(sentence: int, start: int, end: int, kind: str) -> dict:
    return {"sent_id": sentence, "pos": [start, end], "type": kind, "name": "", "index": "0_0"}


def fact(name: str, head: int, tail: int, *evidence: int) -> dict:
    return {"r": name, "h": head, "t": tail, "evidence": [*evidence]}


def document(*labels: dict) -> dict:
    """Ann Lee (0), Bob (1), Rome (2) and Roman Bank (3) in two sentences; the bank's name holds a mention of Rome."""
    sents = [["Bob", "met", "Ann", "Lee", "in", "Rome", "."], ["Ann", "left", "the", "Roman", "Bank", "\xa0"]]
    entities = [
        [mention(1, 0, 1, "PER"), mention(0, 2, 4, "PER")],
        [mention(0, 0, 1, "PER")],
        [mention(0, 5, 6, "LOC"), mention(1, 3, 4, "LOC")],
        [mention(1, 3, 5, "ORG")],
    ]
    return {"title": "Ann Lee", "sents": sents, "vertexSet": entities, "labels": [*labels]}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """A function that reads the same labels in all documents, as many as wanted in training and two for test_revised."""

    def inner(*labels, train: int = 10, test: tuple = ((), ()), reader=formats.read_redocred_small):
        files = {
            "train": [document(*labels)] * train,
            "dev": [document(*labels)] * train,
            "test": [document(*each) for each in test],
        }
        for name, documents in files.items():
            monkeypatch.setitem(formats.DOCUMENTS, f"{name}_revised.json", len(documents))
            (tmp_path / f"{name}_revised.json").write_text(json.dumps(documents), encoding="utf-8")
        return reader(tmp_path)[:2]

    return inner


def labels(rows) -> dict[str, str]:
    return {row.id: row.relation for row in rows}


def test_rows_are_ordered_pairs_of_a_sentence_with_a_person_or_an_organization_as_subject(read):
    splits, _ = read()
    first = [row for row in splits["train"] if row.document == "redocred-dev-0"]
    assert [row.id.removeprefix("redocred-dev-0-") for row in first] == [
        "0-0-1",
        "0-0-2",
        "0-1-0",
        "0-1-2",
        "1-0-2",
        "1-0-3",
        "1-3-0",
    ]
    ann, bank = first[0], first[-1]
    assert (ann.subject, ann.object, ann.subj_type, ann.obj_type) == ((2, 3), (0, 0), "PERSON", "PERSON")
    assert bank.mentions == (["Roman", "Bank"], ["Ann"]) and bank.subj_type == "ORGANIZATION"
    assert {row.relation for row in first} == {NO_RELATION} and {row.evidence for row in first} == {None}


def test_documents_of_the_test_file_go_to_dev_and_test_by_turns_and_ids_name_their_file(read):
    small, _ = read()
    whole, _ = read(reader=formats.read_redocred)
    assert {row.document for row in small["dev"]} == {"redocred-test-0"} and {
        row.document for row in small["test"]
    } == {"redocred-test-1"}
    assert {row.document for row in whole["test"]} == {"redocred-test-0", "redocred-test-1"}
    assert small["train"] == whole["dev"] and len({row.id for split in SPLITS for row in whole[split]}) == sum(
        map(len, whole.values())
    )


def test_a_relation_counts_where_its_evidence_is_or_where_it_lists_none(read):
    spouse, death = fact("P26", 0, 1, 0), fact("P20", 0, 2, 1)
    splits, notes = read(spouse, death, fact("P108", 0, 3))
    rows = {row.id: row for row in splits["train"]}
    told = rows["redocred-dev-0-0-0-1"]
    assert (told.relation, told.evidence) == ("per:spouse", True)
    assert "redocred-dev-0-0-0-2" not in rows  # stated in the other sentence
    assert (rows["redocred-dev-0-1-0-2"].relation, rows["redocred-dev-0-1-0-2"].evidence) == (
        "per:place_of_death",
        True,
    )
    assert (rows["redocred-dev-0-1-0-3"].relation, rows["redocred-dev-0-1-0-3"].evidence) == ("per:employer", None)
    assert (
        "10 pairs with overlapping mentions and 10 whose relations are all stated" in notes[0]
        and "10 words are blank" in notes[0]
    )


def test_of_several_relations_the_rarest_in_training_is_kept_then_the_smaller_number(read):
    common, rare, unknown = fact("P26", 0, 1), fact("P22", 0, 1), fact("P19", 0, 1)
    splits, notes = read(common, fact("P26", 1, 0), rare, test=([common, rare, unknown], [unknown, common]))
    assert labels(splits["train"])["redocred-dev-3-0-0-1"] == "per:father"
    assert labels(splits["dev"])["redocred-test-0-0-0-1"] == "per:father"
    assert labels(splits["test"])["redocred-test-1-0-0-1"] == "per:spouse"  # not the one that training lacks
    tie, _ = read(fact("P26", 0, 1), fact("P22", 0, 1))
    assert labels(tie["train"])["redocred-dev-0-0-0-1"] == "per:father"
    assert "of 10 pairs with several relations" in notes[0]


def test_relations_with_fewer_than_ten_training_rows_are_left_out_with_their_rows(read):
    splits, notes = read(fact("P26", 0, 1), train=9, test=([fact("P26", 0, 1)], [fact("P19", 0, 2)]))
    assert {row.relation for split in SPLITS for row in splits[split]} == {NO_RELATION}
    assert notes[-1] == "2 relations with fewer than 10 training rows are left out with their 9 / 1 / 2 rows"


def test_the_card_counts_documents_and_evidence(read):
    splits, notes = read(fact("P26", 0, 1, 0), fact("P108", 0, 3), test=([fact("P26", 0, 1, 0)], []))
    shown = card(Corpus("toy", splits["train"], splits["dev"], splits["test"], notes=notes))
    assert "train: 10 documents; 10 of 20 relations have evidence in their sentence" in shown
    assert "dev: 1 documents; 1 of 1 relations" in shown and "note: dev_revised.json: 10 pairs" in shown


DAMAGED = {
    "no sentences": ({"sents": []}, "field sents: expected array of length >= 1"),
    "an empty sentence": ({"sents": [["Ann"], []]}, r"field sents\[1\]: expected array of length >= 1"),
    "a span beyond": ({"vertexSet": [[mention(0, 5, 9, "PER")]]}, r"field vertexSet\[0\]\[0\].pos: 5 to 9 is no span of its 7"),
    "a span backwards": ({"vertexSet": [[mention(0, 2, 2, "PER")]]}, "pos: 2 to 2 is no span"),
    "a sentence before": ({"vertexSet": [[mention(-1, 0, 1, "PER")]]}, r"vertexSet\[0\]\[0\].sent_id: expected int >= 0"),
    "a sentence beyond": ({"vertexSet": [[mention(2, 0, 1, "PER")]]}, "sent_id: is none of its 2 sentences"),
    "an unknown type": ({"vertexSet": [[mention(0, 0, 1, "GPE")]]}, r"field vertexSet\[0\]\[0\].type: invalid enum value 'GPE'"),
    "an unknown property": ({"labels": [fact("P1", 0, 1)]}, "field labels.0..r: 'P1' is none of the properties"),
    "no such entity": ({"labels": [fact("P26", 0, 4)]}, "labels.0.: h or t is none of its 4 entities"),
    "evidence beyond": ({"labels": [fact("P26", 0, 1, 2)]}, "labels.0..evidence: names more than its 2 sentences"),
    "a missing field": ({"labels": [{"r": "P26", "h": 0, "t": 1}]}, "field labels.0..evidence: is missing"),
    "words that are none": ({"sents": [["Ann", 3]]}, r"field sents\[0\]\[1\]: expected str, got int"),
}  # fmt: skip


@pytest.mark.parametrize("change, message", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_document_is_named_with_its_field(tmp_path, monkeypatch, change, message):
    path = tmp_path / "dev_revised.json"
    path.write_text(json.dumps([document(), document() | change]), encoding="utf-8")
    monkeypatch.setitem(formats.DOCUMENTS, path.name, 2)
    with pytest.raises(UserError, match=rf"dev_revised.json: document 1 \(title 'Ann Lee'\): .*{message}.*; .*\.$"):
        formats.read_redocred_small(tmp_path)


def test_a_file_of_another_split_or_cut_is_told(tmp_path):
    whole = json.dumps([document()] * 3)
    for name, text, message in (
        ("dev", whole, "holds 3 documents, the published file has 500"),
        ("test", whole[:-300], "fetch it again"),
    ):
        (tmp_path / f"{name}_revised.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=f"{name}_revised.json: .*{message}"):
            formats._read_file(tmp_path / f"{name}_revised.json")


def test_the_published_files_give_the_counted_rows(data_dir):
    splits, notes, _ = formats.read_redocred_small(data_dir / "redocred")
    positives = [sum(row.relation != NO_RELATION for row in splits[split]) for split in SPLITS]
    assert [len(splits[split]) for split in SPLITS] == [14_330, 6_519, 7_824] and positives == [2_970, 1_362, 1_419]
    counts = Counter(row.relation for row in splits["train"])
    assert len(counts) == 52 and sorted(counts.values())[-2] == 378 and min(counts.values()) == 10
    counted = (("18 pairs", "78 whose", "585 pairs", "66 words"), ("22 pairs", "85 whose", "630 pairs", "39 words"))
    for note, figures in zip(notes, counted, strict=False):
        assert all([figure in note for figure in figures])
    told = sum(bool(row.evidence) for row in splits["test"])
    assert 0.3 < told / positives[2] < 0.7 and not any([row.evidence is False for row in splits["test"]])
