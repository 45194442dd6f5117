"""The download, with a stand-in for the network."""

import hashlib
from io import BytesIO

import pytest
import requests
from pooch import core

from tacred_utils.corpora import download
from tacred_utils.corpora.registry import SOURCES, Source
from tacred_utils.ground.errors import UserError

GOOD, OTHER = hashlib.md5(b"good").hexdigest(), hashlib.md5(b"other").hexdigest()


@pytest.fixture
def asked(monkeypatch):
    """The addresses that are asked for. Every answer is `good`, or of another status where the address says so."""
    addresses = []

    def send(_, request, **__):
        addresses.append(request.url)
        if "broken" in request.url:
            raise requests.ConnectionError("no route")
        answer = requests.Response()
        answer.request, answer.url, answer.raw, answer.status_code = request, request.url, BytesIO(b"good"), 200
        if "moved" in request.url:
            answer.status_code, answer.headers["location"] = 302, "http://example.org/elsewhere"
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    monkeypatch.setattr(core.time, "sleep", lambda _: None)
    return addresses


def source(monkeypatch, **files: str) -> None:
    """A source called toy with these files."""
    toy = Source("a toy", {f"{name}.txt": md5 for name, md5 in files.items()}, "https://example.org/toy")
    monkeypatch.setitem(SOURCES, "toy", toy)


def test_only_what_has_the_right_checksum_is_kept(tmp_path, monkeypatch, asked):
    source(monkeypatch, train=GOOD, dev=OTHER)
    with pytest.raises(UserError, match=f"dev.txt: has not the md5 {OTHER}.*nothing was kept"):
        download.fetch_source("toy", tmp_path)
    assert {*asked} == {"https://example.org/toy/train.txt", "https://example.org/toy/dev.txt"}
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["train.txt"]
    asked.clear()
    with pytest.raises(UserError, match="dev.txt"):
        download.fetch_source("toy", tmp_path)
    assert {*asked} == {"https://example.org/toy/dev.txt"}  # the good one is not fetched again


def test_a_damaged_file_is_fetched_again(tmp_path, monkeypatch, asked):
    source(monkeypatch, train=GOOD)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "train.txt").write_bytes(b"half")
    [path] = download.fetch_source("toy", tmp_path)
    assert path.read_bytes() == b"good" and len(asked) == 1


def test_it_tries_again_and_then_says_what_to_do(tmp_path, monkeypatch, asked):
    source(monkeypatch, broken=GOOD)
    with pytest.raises(UserError, match="cannot be had.*--data-dir"):
        download.fetch_source("toy", tmp_path)
    assert len(asked) == 3 and not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("md5", [GOOD, ""])
def test_no_redirect_is_followed(tmp_path, monkeypatch, asked, md5):
    source(monkeypatch, moved=md5)
    with pytest.raises(UserError, match="cannot be had"):
        download.fetch_source("toy", tmp_path)
    assert asked == ["https://example.org/toy/moved.txt"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_downloads_are_https_with_a_checksum():
    without = {"train_revised.json"}  # of redocred: its reader knows it by the number of its documents
    for source in SOURCES.values():
        if source.url is not None:
            assert source.url.startswith("https://")
            assert all([len(md5) == 32 for file, md5 in source.files.items() if file not in without])


def test_folders_that_are_called_otherwise_at_the_source(tmp_path, monkeypatch, asked):
    with pytest.raises(UserError, match="has not the md5"):
        download.fetch_source("tacrev", tmp_path)
    monkeypatch.setattr(core, "hash_matches", lambda *_, **__: True)
    download.fetch_source("tacrev", tmp_path)
    assert asked[-1].endswith("master/results/test_results/tre_tacred_test.txt")
    assert (tmp_path / "tacrev" / "test_results" / "tre_tacred_test.txt").exists()


def test_licensed_and_unknown_downloads_are_refused(tmp_path):
    with pytest.raises(UserError, match="LDC2018T24"):
        download.fetch_source("tacred", tmp_path)
    with pytest.raises(UserError, match="unknown"):
        download.fetch_source("nope", tmp_path)
