"""The readers of KBP37 and CoNLL04: spans, types, and what is left out."""

from tacred_utils.corpora.formats import read_conll04, read_kbp37
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
