"""The corpora by name: readers of the open ones, gates, revisions, subsets; and the download with a stand-in for the network."""

import hashlib
import json
import shutil
from collections import Counter

import msgspec
import pytest

from tacred_utils.corpora import download, registry
from tacred_utils.corpora.formats import read_conll04, read_kbp37
from tacred_utils.corpora.registry import corpus_files, corpus_name, stratified
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.runs.data import load_corpus

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


def test_kbp37_records_and_what_is_left_out(tmp_path):
    (tmp_path / "train.txt").write_bytes(KBP37.replace("\n", "\r\n").encode())
    [example], notes = read_kbp37(tmp_path / "train.txt")
    assert example.token == ["Ann", "Lee", "runs", "Acme", "."]
    assert (example.subj_start, example.subj_end, example.obj_start, example.obj_end) == (0, 1, 3, 3)
    assert example.relation == "per:employee_of(e1,e2)"  # without the trailing space
    assert notes == ["train.txt: 1 sentences with an empty mention left out"]


def test_kbp37_damage_is_named(tmp_path):
    (tmp_path / "train.txt").write_text(KBP37.replace("<e2> Acme", "Acme"))
    with pytest.raises(UserError, match="record '0'"):
        read_kbp37(tmp_path / "train.txt")


def test_conll04_pairs_and_what_is_left_out(tmp_path):
    (tmp_path / "dev.txt").write_text(CONLL04)
    examples, notes = read_conll04(tmp_path / "dev.txt")
    labels = {(e.subj_start, e.obj_start): e.relation for e in examples}
    assert labels == {
        (0, 3): "Live_In", (0, 5): "Work_For", (3, 0): NO_RELATION, (3, 5): NO_RELATION, (5, 0): NO_RELATION, (5, 3): NO_RELATION,
    }  # fmt: skip
    assert notes == [
        "dev.txt: 1 words tagged I- outside an entity are no entity",
        "dev.txt: 1 relations point to no entity and are left out",
    ]
    assert examples[0].stanford_ner == ["Peop", "Peop", "O", "Loc", "O", "Org", "O", "O"], (
        "all entities of the sentence are told"
    )
    assert (examples[0].subj_end, examples[0].subj_type, examples[0].obj_type) == (1, "Peop", "Loc")


def test_open_corpora_have_their_published_sizes(data_dir):
    kbp37 = load_corpus("kbp37", data_dir)
    assert [len(kbp37.split(split)) for split in SPLITS] == [15_807, 1_714, 3_379]
    assert len(kbp37.labels) == 37 and not kbp37.columns
    conll04 = load_corpus("conll04", data_dir)
    assert [len(conll04.split(split)) for split in SPLITS] == [12_338, 2_898, 3_822]
    negative = [sum(e.relation == NO_RELATION for e in conll04.split(s)) / len(conll04.split(s)) for s in SPLITS]
    assert [round(share, 3) for share in negative] == [0.897, 0.878, 0.890]
    assert conll04.columns == {"types", "stanford_ner"} and len(conll04.labels) == 6


def test_the_public_format_sample_is_told_apart_from_tacred(data_dir, tmp_path):
    sample = load_corpus("tacred_sample", data_dir)
    assert [len(sample.split(split)) for split in SPLITS] == [20, 20, 20] and sample.gated
    shutil.copytree(data_dir / "tacred_sample", tmp_path / "tacred")
    with pytest.raises(UserError, match="public 20-row format sample"):
        load_corpus("tacred", tmp_path)
    assert corpus_name(str(tmp_path / "tacred")) == "tacred_sample"
    assert load_corpus(str(tmp_path / "tacred")).name == "tacred_sample"


def test_retacred_changes_and_drops(data_dir):
    sample = load_corpus("tacred_sample", data_dir, labels="retacred")
    assert sample.name == "tacred_sample-retacred"
    assert len(sample.train) + len(sample.dev) + len(sample.test) < 60
    assert any("drops" in note for note in sample.notes)
    with pytest.raises(UserError, match="is for TACRED only"):
        load_corpus("conll04", data_dir, labels="retacred")


def write_folder(folder, sizes, prefix="", relation=lambda index: "per:title"):
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        records = [
            {"id": f"{prefix}{split}-{index}", "relation": relation(index), "token": ["a", "b"], "subj_start": 0, "subj_end": 0,
             "obj_start": 1, "obj_end": 1, "subj_type": "PERSON", "obj_type": "TITLE"}
            for index in range(sizes[split])
        ]  # fmt: skip
        (folder / f"{split}.json").write_bytes(msgspec.json.encode(records))
    return folder


def test_a_folder_of_tacreds_sizes_is_tacred_unless_its_ids_say_synthetic(tmp_path):
    real = write_folder(tmp_path / "mine", TACRED_SPLIT_SIZES)
    assert corpus_name(str(real)) == "tacred"
    assert load_corpus(str(real)).gated and load_corpus(str(real)).name == "tacred"
    made = write_folder(tmp_path / "made", TACRED_SPLIT_SIZES, prefix="synthetic-")
    assert corpus_name(str(made)) == "made" and load_corpus(str(made)).synthetic


def test_the_tacred_name_takes_the_archives_layout_and_is_gated_by_sizes(tmp_path):
    write_folder(tmp_path / "tacred" / "data" / "json", TACRED_SPLIT_SIZES)
    assert len(load_corpus("tacred", tmp_path).train) == 68_124
    write_folder(tmp_path / "other" / "tacred", {"train": 9, "dev": 3, "test": 3})
    with pytest.raises(UserError, match="has 9 / 3 / 3 records, TACRED has 68,124"):
        load_corpus("tacred", tmp_path / "other")


def test_tacrev_changes_listed_rows(tmp_path):
    folder = write_folder(tmp_path / "mine", {"train": 5, "dev": 5, "test": 5})
    for split in ("dev", "test"):
        path = tmp_path / "tacrev" / "patch" / f"{split}_patch.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps([{"id": f"{split}-2", "relation": NO_RELATION}, {"id": f"{split}-3", "relation": "per:title"}])
        )
    corpus = load_corpus(str(folder), tmp_path, labels="tacrev")
    assert corpus.name == "mine-tacrev" == corpus_name(str(folder), tmp_path, "tacrev")
    assert [example.relation for example in corpus.dev].count(NO_RELATION) == 1
    assert "tacrev changes 1 of 5 labels of test" in corpus.notes


@pytest.mark.parametrize(
    "name, expected", [("a b/..", "is neither"), ("nowhere", "is neither"), ("tacrev", "holds labels")]
)
def test_unknown_names_are_told(name, expected, tmp_path):
    with pytest.raises(UserError, match=expected):
        load_corpus(name, tmp_path)


def test_folder_names_cannot_leave_the_results_folder(tmp_path):
    sizes = {"train": 2, "dev": 2, "test": 2}
    assert corpus_name(str(write_folder(tmp_path / "..hidden ü<b>", sizes))) == "hidden-b"
    assert corpus_name(str(write_folder(tmp_path / "kbp37", sizes))) == "kbp37-folder"
    assert corpus_name(str(write_folder(tmp_path / "x", sizes)) + "/..//x") == "x"


def test_a_wrong_checksum_is_an_error(tmp_path):
    for split in SPLITS:
        (tmp_path / "kbp37").mkdir(exist_ok=True)
        (tmp_path / "kbp37" / f"{split}.txt").write_text(KBP37)
    with pytest.raises(UserError, match="has md5"):
        load_corpus("kbp37", tmp_path)


def test_a_subset_is_stratified_stated_and_the_same_every_time(data_dir):
    scales = {"train": 0.05, "dev": 0.05, "test": 0.2}
    corpus, again = load_corpus("conll04", data_dir, scales=scales), load_corpus("conll04", data_dir, scales=scales)
    assert corpus.digests == again.digests
    assert abs(len(corpus.train) - 3_406) < 5 and corpus.subset.startswith(
        f"stratified subset of {len(corpus.train):,} / "
    )
    full = Counter(e.relation for e in load_corpus("conll04", data_dir).train)
    part = Counter(e.relation for e in corpus.train)
    assert all(abs(part[label] / len(corpus.train) - full[label] / 12_338) < 0.001 for label in full)
    assert load_corpus("conll04", data_dir, scales=dict.fromkeys(SPLITS, 1.0)).subset == ""


def test_every_label_keeps_a_row():
    rows = [msgspec.convert({"id": str(i), "relation": "rare" if i == 7 else "common", "token": ["a"], "subj_start": 0, "subj_end": 0,
                             "obj_start": 0, "obj_end": 0, "subj_type": "A", "obj_type": "B"}, registry.Example) for i in range(100)]  # fmt: skip
    kept = stratified(rows, 5)
    assert {row.relation for row in kept} == {"rare", "common"} and [int(r.id) for r in kept] == sorted(
        int(r.id) for r in kept
    )


def test_corpus_files(tmp_path):
    assert corpus_files("sample") == []
    assert [path.name for path in corpus_files("kbp37", tmp_path)] == ["train.txt", "dev.txt", "test.txt"]


class Answer:
    """A stand-in for an https answer."""

    def __init__(self, content):
        self.content, self.headers = content, {"content-length": str(len(content))}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def raise_for_status(self):
        return None

    def iter_content(self, size):
        yield self.content


def test_download_keeps_only_what_has_the_right_checksum(tmp_path, monkeypatch):
    asked = []
    files = {"train.txt": hashlib.md5(b"good").hexdigest(), "dev.txt": hashlib.md5(b"other").hexdigest()}
    monkeypatch.setitem(registry.SOURCES, "toy", registry.Source("a toy", "https://example.org/toy", files))
    monkeypatch.setattr(download.requests, "get", lambda url, **_: asked.append(url) or Answer(b"good"))
    with pytest.raises(UserError, match="dev.txt: has md5"):
        download.get("toy", tmp_path)
    assert asked == ["https://example.org/toy/train.txt", "https://example.org/toy/dev.txt"]
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["train.txt"]
    with pytest.raises(UserError, match="dev.txt: has md5"):
        download.get("toy", tmp_path)
    assert asked[2:] == ["https://example.org/toy/dev.txt"]  # the good one is not fetched again


def test_download_tries_again_and_then_says_what_to_do(tmp_path, monkeypatch):
    tries = []

    def fail(url, **_):
        tries.append(url)
        raise download.requests.ConnectionError("no route")

    monkeypatch.setattr(download.requests, "get", fail)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with pytest.raises(UserError, match="cannot be had after 3 tries.*--data-dir"):
        download.get("kbp37", tmp_path)
    assert len(tries) == 3 and not (tmp_path / "kbp37").exists()


def test_all_downloads_are_https_with_a_checksum():
    without = {"train_revised.json"}  # of redocred: its reader knows it by the number of its documents
    for source in registry.SOURCES.values():
        if source.url is not None:
            assert source.url.startswith("https://")
            assert all([len(md5) == 32 for file, md5 in source.files.items() if file not in without])


def test_licensed_and_unknown_downloads_are_refused(tmp_path):
    with pytest.raises(UserError, match="LDC2018T24"):
        download.get("tacred", tmp_path)
    with pytest.raises(UserError, match="unknown"):
        download.get("nope", tmp_path)
