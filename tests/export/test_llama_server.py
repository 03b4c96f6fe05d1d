"""llama.cpp's own server on exported files, started with the line of their README: the policy's numbers, and its tokens.

Needs the program: pytest --llama-server FILE tests/export/test_llama_server.py
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_words import TEXT, byte_level
from test_gguf_files import steered_on
from transformers import LlamaConfig, Qwen2Config

from pluralign.data.condition import Weights
from pluralign.data.presets import Presets
from pluralign.export.bundle import export_adapters
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from tiny import OBJECTIVES, shake

pytestmark = [pytest.mark.llama_cpp, pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")]
EXACT = "-fa off --cache-type-k f32 --cache-type-v f32 -t 1 -c 512"
PRESETS = Presets({"calm": Weights({"kind": 0.7, "brief": 0.3}, 1.5)})
LISTS = (  # what is asked of the policy, what a request's "lora" says
    (None, None),
    (Weights({"kind": 1.0}), [(0, 1.0)]),
    (Weights({"kind": 0.7, "brief": 0.3}), [(0, 0.7), (1, 0.3)]),
    (Weights({"kind": 0.7, "brief": 0.3}, 1.5), [(0, 1.05), (1, 0.45)]),
    (Weights({"kind": 0.7, "brief": 0.3}, 1.5), [(3, 1.0)]),
)
TEXTS = (*TEXT, "  two  spaces\t\ttabs \n\n lines\r\n", "I'LL 12345 abc</s>x <s>", " lead", "trail ", "x=1;y=22 %$#")
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
TINY: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "gpt-2": ("gpt-2", LlamaConfig, {}),
    "smollm": ("smollm", LlamaConfig, {"rope_parameters": LINEAR}),
    "llama-bpe": ("llama-bpe", LlamaConfig, {"rope_parameters": LLAMA3}),
    "qwen2": ("qwen2", Qwen2Config, {}),
    "biases": ("gpt-2", LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
}


@contextmanager
def serving(program: str, folder: Path) -> Iterator[Any]:
    """The server on that folder, as its README says; yields a function (path, body) -> answer."""
    section = (folder / "README.md").read_text().partition("### llama.cpp")[2].partition("```sh\n")[2]
    line = shlex.split(section.partition("```")[0].replace("\\\n", " "))
    assert line[0] == "llama-server"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    libraries = {"LD_LIBRARY_PATH": str(Path(program).resolve().parent)}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [program, *line[1:], *EXACT.split(), "--port", port],
            cwd=folder, env={**os.environ, **libraries}, stdout=log, stderr=log,
        )  # fmt: skip

    def ask(path: str, body: dict[str, Any]) -> Any:
        sent = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return json.load(answer)

    try:
        for _ in range(120):
            assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.25)
        yield ask
    finally:
        process.terminate()
        process.wait(20)


def probabilities(ask: Any, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server gives to every next token; it tells nothing where it drew the end or half a letter: drawn again."""
    for seed in range(50):
        try:
            told = ask("/completion", {**body, "seed": seed})
        except urllib.error.HTTPError as error:
            error.close()
            continue
        if told.get("completion_probabilities"):
            return list(told["completion_probabilities"][0]["top_logprobs"])
    raise AssertionError("fifty draws, and no probabilities")


def agrees(steered: Policy, program: str, folder: Path) -> None:
    """Every list of scales gives the policy's log-probabilities, and every text its tokens."""
    ids = torch.randint(270, (1, 20), generator=torch.Generator().manual_seed(5))
    size = steered.model.config.vocab_size
    words = steered.encoder.tokenizer
    with serving(program, folder) as ask:
        for asked, scales in LISTS:
            lora = {} if scales is None else {"lora": [{"id": place, "scale": scale} for place, scale in scales]}
            body = {"prompt": ids[0].tolist(), "n_predict": 1, "n_probs": size, "cache_prompt": False, **lora}
            found = probabilities(ask, body)
            with torch.no_grad():
                own = steered.model(ids, steer=steered.coefficients([asked])).logits[0, -1].log_softmax(-1)
            wrong = [abs(each["logprob"] - float(own[each["id"]])) for each in found if each["logprob"] > -15]
            assert len(wrong) > 20 and max(wrong) < 1e-4, (asked, max(wrong))
        for text in TEXTS:
            read = ask("/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"]
            assert read == words(text, add_special_tokens=False, split_special_tokens=True).input_ids, text


@pytest.fixture
def program(request: pytest.FixtureRequest) -> str:
    """llama.cpp's server; skips where none was named."""
    named = request.config.getoption("--llama-server")
    if named is None:
        pytest.skip("needs llama.cpp's server; name it with --llama-server FILE")
    return str(named)


@pytest.mark.parametrize("name", TINY)
def test_tiny_models(tmp_path: Path, program: str, name: str) -> None:
    pre, shape, options = TINY[name]
    steered = steered_on(byte_level(pre), shape, **options)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter, tensor in steered.model.named_parameters():
            if parameter.endswith("bias"):
                tensor += 0.3 * torch.randn(tensor.shape, generator=generator)
    agrees(steered, program, export_adapters(steered, tmp_path / "out", PRESETS, gguf="f32").folder)


@pytest.mark.real_data
def test_a_real_model(tmp_path: Path, program: str, real_data: Path) -> None:
    steering = PluralSteering(where="all", rank=4, shared_where="attention", shared_rank=2)
    steered = Policy.from_base(real_data / "stories260k", steering, OBJECTIVES)
    shake(steered, 0.02)
    folder = export_adapters(steered, tmp_path / "out", PRESETS, gguf="f32").folder
    assert re.search(r"llama-server -m \./base/model\.gguf", (folder / "README.md").read_text())
    agrees(steered, program, folder)
