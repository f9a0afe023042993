"""What the engine's shortcuts save: python benchmarks/speed.py [exact|smollm2|games].

Each row compares two ways to the same numbers in one process, alternately, on one thread, and gives
the ratio of their median CPU seconds: machines are noisy, ratios less so. For games see
benchmarks/theory/speed_games.py.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.build_exact import tiny_llama
from benchmarks.build_language import prompt_set
from benchmarks.theory.speed_games import games_table
from mpo import sampling
from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.data import PromptSet
from mpo.divergences import token_scores
from mpo.games.zoo import make_game
from mpo.layout import Layout, row_layout
from mpo.logprobs import frozen_scores
from mpo.policy import Policy
from mpo.prompts import load_prompts, split_prompts
from mpo.records import Prompts, Responses

Way = Callable[[], object]
CHUNK = 2**23
TINY = {"width": 32, "layers": 2, "heads": 4}


def cpu_seconds(way: Way) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    way()
    return time.process_time() - start


def compared(label: str, ours: Way, other: Way, repeats: int) -> list[str]:
    """A row: both medians and their ratio."""
    ours()
    other()
    times = [(cpu_seconds(ours), cpu_seconds(other)) for _ in range(repeats)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return [label, f"{mine * 1e3:.1f}", f"{theirs * 1e3:.1f}", f"{theirs / mine:.2f}"]


def exact_policy() -> tuple[Policy, Prompts, Responses]:
    """The exact task's policy with 128 responses to each of three prompts."""
    game = make_game("smooth", 100)
    policy = Policy(tiny_llama(game, TINY, seed=0))
    prompts = PromptSet(game.framed_prompts, range(3), game.prompt_texts).batch(range(3))
    return policy, prompts, drawn(policy, prompts, 128, 3, (game.eos,))


def smollm2_policy() -> tuple[Policy, Prompts, Responses]:
    """SmolLM2, its last two blocks moving, with 8 responses to each of four tuning prompts."""
    model, tokenizer = load_causal_model("smollm2")
    policy = Policy(model, train_blocks=2)
    chat = ChatFormat(tokenizer, "Reply in one sentence.")
    tuning = split_prompts(load_prompts("chatterbot-corpus"))["tuning"]
    prompts = prompt_set(chat, tuning, 64).batch(range(4))
    return policy, prompts, drawn(policy, prompts, 8, 24, chat.end_tokens(model))


def drawn(
    policy: Policy, prompts: Prompts, responses: int, tokens: int, ends: tuple[int, ...]
) -> Responses:
    """Responses of the policy under fixed random numbers."""
    uniforms = sampling.keyed_uniforms(0, 0, 0, prompts.keys, responses, tokens)
    return sampling.sample(policy, prompts, uniforms, ends)


def rows_of(
    policy: Policy, prompts: Prompts, responses: Responses, repeats: int
) -> list[list[str]]:
    """The comparisons on one policy."""
    tree, rows = policy.layout(prompts, responses), row_layout(prompts, responses)
    trunk, mask = policy.trunk_states(tree), responses.mask
    magnet = policy.frozen_copy()
    with torch.no_grad():
        for _, parameter in policy.moving_parameters():
            parameter.mul_(1.001)
        hidden = policy.hidden(tree, trunk)[mask].detach().requires_grad_()
        tokens = responses.ids[mask]
        frozen = frozen_scores(magnet.hidden(tree, trunk)[mask], magnet.head, tokens, CHUNK)
    head, whole = policy.head, hidden.numel() * policy.head.weight.shape[0]

    def backward_of_hidden(layout: Layout, trunk: Tensor | None) -> Way:
        return lambda: policy.hidden(layout, trunk).square().mean().backward()

    def kl(chunk: int, copied: bool) -> Way:
        reference = frozen
        if copied:
            reference = frozen._replace(head=head._replace(weight=head.weight.detach().clone()))
        return lambda: token_scores(hidden, head, tokens, [reference], chunk).kl[0].sum().backward()

    found = [
        compared(
            "blocks, forward and backward: shared prefix, trunk kept, against a row a response",
            backward_of_hidden(tree, trunk),
            backward_of_hidden(rows, None),
            repeats,
        )
    ]
    if not head.weight.requires_grad:
        ways = {
            "exact KL, forward and backward: shared head, against logits of both models": kl(
                CHUNK, True
            ),
            "the same: shared head in chunks, against all logits at once": kl(whole, True),
        }
        found += [compared(label, kl(CHUNK, False), way, repeats) for label, way in ways.items()]
    return found


def table_of(rows: list[list[str]]) -> str:
    """The comparisons as text."""
    headers = ["ours, against another way", "ours, CPU ms", "other, CPU ms", "other / ours"]
    return tabulate(rows, headers=headers, tablefmt="github")


TABLES: dict[str, Callable[[], str]] = {
    "exact": lambda: table_of(rows_of(*exact_policy(), repeats=20)),
    "smollm2": lambda: table_of(rows_of(*smollm2_policy(), repeats=3)),
    "games": games_table,
}


def main() -> None:
    """Print the tables that were asked for."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or list(TABLES):
        print(f"\n{name}\n")
        print(TABLES[name]())


if __name__ == "__main__":
    main()
