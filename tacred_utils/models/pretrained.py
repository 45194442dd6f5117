"""Where a transformer's weights come from: a hub, a folder, what pip packages, or a short pre-training here.

Only safetensors are read. A hub is asked for a pinned revision and what it sends is kept in its cache.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
import transformers
from filelock import FileLock
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest, expanded
from tacred_utils.inputs.encoding import minilm_folder
from tacred_utils.models import processes
from tacred_utils.models.networks import compute_dtype
from tacred_utils.models.settings import LONGEST, OwnModel
from tacred_utils.models.weights import HUB_SECONDS, MODELS, model_folder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
REVISIONS = {  # commits on the hub
    MINILM: "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    "bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "gpt2": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    "roberta-large": "722cf37b1afa9454edce342e7895e588b6ff1d59",
}
FILES = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model"]
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}


@dataclass(frozen=True)
class Pretrained:
    """A backbone (token ids → states) with its tokenizer, and what run.json should say of them."""

    tokenizer: PreTrainedTokenizerBase
    backbone: PreTrainedModel
    facts: dict[str, object]


def load_pretrained(name: str, own: OwnModel, corpus: Corpus, cache: Path, layers: int = 0) -> Pretrained:
    """The model that a setting `model` names, in float32; `cache` keeps the study's own ones.

    `layers` keeps so many from the bottom, 0 all. Raises `UserError` for a name that neither a folder nor the hub has,
    a model that is yet to be fetched, an unreachable hub, damaged weights, and more layers than there are.
    """
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    facts: dict[str, object] = {"model": name}
    if name in ("own_encoder", "own_decoder"):
        folder, facts["pretraining"] = pretrain(name, own, corpus.train, cache)
    elif name in MODELS:
        folder, facts["weights"] = model_folder(name, corpus.data), MODELS[name].about
    elif expanded(name).is_dir():
        folder = expanded(name)
    elif name == "minilm":
        folder = _minilm()  # the same file from either place, by its checksum
    else:
        folder, facts["revision"] = _from_hub(name)
    try:
        safe = {"local_files_only": True, "trust_remote_code": False}  # code beside the weights is not run
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        depth = AutoConfig.from_pretrained(folder, **safe).num_hidden_layers
        backbone = AutoModel.from_pretrained(
            folder, **safe, dtype=torch.float32, use_safetensors=True, num_hidden_layers=layers or depth
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = (str(error).strip().splitlines() or ["unknown"])[0]
        needs = "it needs config.json, a tokenizer and model.safetensors"
        raise UserError(f"{folder}: holds no transformer that can be read ({said}); {needs}.") from None
    if layers > depth:
        raise UserError(f"--set layers={layers}: {name} has {depth}; keep at most these.")
    if tokenizer.pad_token is None:  # as GPT-2's; a piece of its own keeps the end of text apart from it
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return Pretrained(tokenizer, stripped(backbone), facts)


def stripped(backbone: PreTrainedModel) -> PreTrainedModel:
    """Without what no head here reads: a pooler and, in a decoder, the cache of earlier states."""
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    backbone.config.use_cache = False
    return backbone


def _minilm() -> Path:
    """The packaged MiniLM, or the hub's."""
    try:
        return minilm_folder()
    except UserError as missing:
        with suppress(UserError):
            return minilm_folder(_from_hub(MINILM)[0])
        raise missing from None


def _from_hub(name: str) -> tuple[Path, str]:
    """The folder of a hub model's snapshot and its revision."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = name.partition("@")
    revision = revision or REVISIONS.get(name)
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=FILES, etag_timeout=HUB_SECONDS)
    except LocalEntryNotFoundError:
        others = f"a folder with its files, {', '.join(MODELS)}, minilm or own_encoder"
        what = "the model hub cannot be reached and its cache lacks the model"
        raise UserError(f"--set model={name}: {what}; connect, or name {others}.") from None
    except HFValidationError:
        raise UserError(f"--set model={name}: is neither a folder nor a name that a model hub could know.") from None
    except HfHubHTTPError as error:
        what = f"the model hub does not give it ({str(error).splitlines()[0]})"
        raise UserError(f"--set model={name}: {what}; check the name, and log in where it is gated.") from None
    return Path(folder), Path(folder).name


# A model of the study's own: real code for smoke tests, and equal terms for encoder and decoder


def pretrain(name: str, own: OwnModel, examples: list[Example], cache: Path) -> tuple[Path, dict[str, object]]:
    """Pre-train an own model on the distinct sentences of the training split, once for all runs of a corpus.

    own_encoder fills in masked pieces (15 %, as BERT), own_decoder the next piece. Returns its folder below `cache`
    and the loss of the last steps.
    """
    sentences = sorted({tuple(example.token) for example in examples})
    facts = {"name": name, "own": msgspec.to_builtins(own), "sentences": sentences}
    key = digest(json.dumps(facts, ensure_ascii=False).encode())[:10]
    folder = Path(cache) / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # runs that start together wait for one of them
        if not folder.is_dir():
            building = folder.with_suffix(".part")
            shutil.rmtree(building, ignore_errors=True)
            if processes.count() == 1:
                _pretrain(**facts, folder=building)
            else:  # whichever holds the lock lets one do it that the others need not join
                processes.alone(__name__, [str(building)], json.dumps(facts))
            building.rename(folder)
    return folder, json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))


def _pretrain(name: str, own: dict[str, object], sentences: list[Sequence[str]], folder: Path) -> None:
    own = msgspec.convert(own, OwnModel)
    transformers.set_seed(0)  # one pre-training for all seeds, as with weights from a hub
    tokenizer = byte_pairs(sentences, own.pieces)
    model = own_model(name, own, len(tokenizer), tokenizer.pad_token_id)
    facts = {"sentences": len(sentences), "pieces": len(tokenizer), "steps": own.steps}
    if own.steps:
        facts |= _train(name, own, model, tokenizer, sentences, folder)
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(facts), encoding="utf-8")


def _train(
    name: str, own: OwnModel, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: list, folder: Path
) -> dict[str, float]:
    """Train a language model in place; returns its first and last loss."""
    cut = {"truncation": True, "max_length": LONGEST, "split_special_tokens": True}  # "[PAD]" in a text is text
    rows = tokenizer([_text(sentence) for sentence in sentences], **cut)["input_ids"]
    arguments = transformers.TrainingArguments(
        str(folder), max_steps=own.steps, per_device_train_batch_size=own.batch_size, seed=0,
        learning_rate=own.learning_rate, lr_scheduler_type="linear", warmup_steps=0.1, weight_decay=0.01,
        save_strategy="no", logging_strategy="steps", logging_steps=max(1, own.steps // 10), report_to="none",
        disable_tqdm=True, log_level="error", dataloader_pin_memory=False,
        train_sampling_strategy="group_by_length", bf16=compute_dtype("auto") == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    arguments._n_gpu = min(arguments.n_gpu, 1)
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=name == "own_encoder", seed=0)
    trainer = transformers.Trainer(model, arguments, collator, train_dataset=[{"input_ids": row} for row in rows])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    if not all(torch.isfinite(weights).all() for weights in model.parameters()):
        raise UserError(f"--set model={name}: its pre-training came to no numbers; lower own.learning_rate.")
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {"loss_first": losses[0], "loss_last": losses[-1]}


def own_model(name: str, own: OwnModel, pieces: int, padding: int) -> PreTrainedModel:
    """A small BERT or GPT-2 with random weights and its language-model head; the same sizes in both."""
    if name == "own_encoder":
        sizes = {"hidden_size": own.width, "num_hidden_layers": own.layers, "num_attention_heads": own.heads}
        more = {"intermediate_size": 4 * own.width, "max_position_embeddings": LONGEST}
        config = transformers.BertConfig(vocab_size=pieces, pad_token_id=padding, **sizes, **more)
        return transformers.BertForMaskedLM(config)
    sizes = {"n_embd": own.width, "n_layer": own.layers, "n_head": own.heads, "n_positions": LONGEST}
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": padding}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=pieces, **sizes, **ends))


def byte_pairs(sentences: list[list[str]], pieces: int) -> PreTrainedTokenizerBase:
    """A lower-cased byte-pair vocabulary of the sentences' words; a text is [CLS] … [SEP] for encoder and decoder."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, special_tokens=list(SPECIAL.values()), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(map(_text, sentences), trainer)
    ends = [(SPECIAL[end], tokenizer.token_to_id(SPECIAL[end])) for end in ("cls_token", "sep_token")]
    tokenizer.post_processor = processors.TemplateProcessing(f"{ends[0][0]} $A {ends[1][0]}", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LONGEST, **SPECIAL)


def _text(sentence: list[str]) -> str:
    """A blank before every word, the first one too, so that a word has the same pieces wherever it stands."""
    return "".join(f" {word}" for word in sentence)


if __name__ == "__main__":  # as `pretrain` calls it where processes train together
    _pretrain(**json.load(sys.stdin), folder=Path(sys.argv[1]))
