"""Devices: what is refused everywhere, and what must hold on a live CUDA device."""

from pathlib import Path

import numpy as np
import pytest

from cut_tails import at_cut, drawn
from featx.backbone.backbone import Backbone
from featx.backbone.golden import golden_cosines
from featx.backbone.runtime import (
    choose_device,
    cuda_devices,
    devices_of,
    open_session,
    prove,
)
from featx.backbone.settings import Settings
from featx.errors import DeviceError, DeviceMemoryError, InputError
from featx.finetune.graph.parameters import trainable
from featx.finetune.steps.optimiser import Optimiser
from featx.finetune.steps.targets import one_hot
from featx.finetune.steps.trainer import Trainer
from featx.index.metric import METRICS, MetricName
from featx.index.opening import build_index
from featx.index.stack import Stack
from featx.index.tuning import build_tuned
from featx.zoo import catalog
from featx.zoo.manifest import Precision

EMBEDDED = ("efficientnet-lite0", "ge2e", "minilm-l6")

CUDA_COSINE = 0.9999
"""float32 without TF32 on another device sums in another order; 1e-4 leaves a wide margin."""

HALF_COSINE = 0.999
"""float16 weights and activations, pooled in float32."""

TEXTS = ["one", "a few words", "a text of many more words than the others have, and then some"]

without_cuda = pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a CUDA device")


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_is_an_error_where_there_is_none(device: str) -> None:
    with pytest.raises(DeviceError, match=rf"device '{device}' is not available: .*featx doctor"):
        choose_device(device)


@without_cuda
def test_a_backbone_on_absent_cuda_is_an_error_and_not_a_slow_success() -> None:
    backbone = Backbone(catalog.find("minilm-l6"), Settings(device="cuda"))

    with pytest.raises(DeviceError, match="not available"):
        backbone.encode(["a text"])


@without_cuda
def test_auto_is_the_cpu_without_cuda() -> None:
    assert choose_device("auto") == "cpu"


def test_the_cpu_is_the_cpu() -> None:
    assert choose_device("cpu") == "cpu"
    assert prove("cpu") == "cpu"


@pytest.mark.parametrize("device", ["", "gpu", "cpu:0", "auto:1", "cuda:x", "cuda:-1", "CUDA"])
def test_names_of_no_device_are_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"expected 'auto', 'cpu', 'cuda' or 'cuda:<n>'"):
        choose_device(device)


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dropped", [0, 30, 3000])
def test_exact_search_on_a_gpu_answers_as_plain_numpy(metric: MetricName, dropped: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 96)).astype(np.float32)
    X[100:140] = X[7]
    Q = np.concatenate((X[:50], rng.standard_normal((50, 96)).astype(np.float32)))
    keep = np.ones(len(X), np.bool_)
    keep[rng.choice(len(X), dropped, replace=False)] = False
    index = build_index("exact", X, metric)

    found = index.search(Q, 10, keep=keep)

    true = build_index("numpy", X, metric).search(Q, 10, keep=keep)
    np.testing.assert_array_equal(found.rows, true.rows)
    np.testing.assert_array_equal(found.similarities, true.similarities)
    assert ("_on_gpu" in vars(index)) == (dropped < 2000)


@pytest.mark.gpu
def test_auto_is_exact_on_a_gpu_that_holds_the_rows() -> None:
    X = np.random.default_rng(0).standard_normal((100_000, 128)).astype(np.float32)

    assert build_tuned("auto", Stack.of(X), "cosine")[0] == "exact"


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_session_is_live_on_cuda(device: str) -> None:
    assert prove(device) == "cuda:0"


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED)
def test_vectors_on_cuda_are_those_of_the_original_weights(name: str, tmp_path: Path) -> None:
    backbone = Backbone(catalog.find(name), Settings(device="cuda", cache=tmp_path))

    cosines = golden_cosines(backbone)

    assert backbone.session is not None
    assert backbone.session.device == "cuda:0"
    assert float(cosines.min()) >= CUDA_COSINE


@pytest.mark.gpu
def test_a_cuda_device_beyond_the_last_is_an_error() -> None:
    with pytest.raises(DeviceError, match="CUDA devices found"):
        choose_device(f"cuda:{cuda_devices()}")


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED)
def test_fp16_vectors_on_cuda_are_near_the_original(name: str, tmp_path: Path) -> None:
    settings = Settings(device="cuda", precision="fp16", cache=tmp_path)

    cosines = golden_cosines(Backbone(catalog.find(name), settings))

    assert float(cosines.min()) >= HALF_COSINE


@pytest.mark.gpu
@pytest.mark.parametrize("packing", ["0", "1"])
def test_texts_on_cuda_are_near_the_original_packed_or_padded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setenv("FEATX_PACKING", packing)
    settings = Settings(device="cuda", precision="fp16", cache=tmp_path)
    manifest = catalog.find("minilm-l6")

    found = Backbone(manifest, settings).encode(TEXTS)

    exact = Backbone(manifest, Settings(device="cpu")).encode(TEXTS)
    assert float(np.einsum("nd,nd->n", found, exact).min()) >= HALF_COSINE


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_text_on_cuda_does_not_depend_on_its_neighbours(
    precision: Precision, tmp_path: Path
) -> None:
    settings = Settings(device="cuda", precision=precision, cache=tmp_path)
    backbone = Backbone(catalog.find("minilm-l6"), settings)

    together = backbone.encode(TEXTS)
    alone = np.concatenate([backbone.encode([text]) for text in TEXTS])

    least = 1 - 1e-6 if precision == "fp32" else 1 - 1e-4
    assert float(np.einsum("nd,nd->n", together, alone).min()) >= least


@pytest.mark.gpu
def test_bound_buffers_on_cuda_give_what_plain_arrays_give(tmp_path: Path) -> None:
    backbone = Backbone(catalog.find("minilm-l6"), Settings(device="cpu"))
    path = backbone.manifest.file("graph")
    plain = open_session(path, device="cuda", bound=False)
    bound = open_session(path, device="cuda")

    for text in (TEXTS[0], TEXTS[2], TEXTS[0], TEXTS[1]):
        roles = backbone.modality.collate([backbone.load(text.encode())])
        feeds = {name: roles[role] for role, name in backbone.manifest.inputs.items()}
        (wanted,) = plain.run(["token_embeddings"], feeds)
        (found,) = bound.run(["token_embeddings"], feeds)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.gpu
def test_memory_of_a_cuda_device_that_runs_out_has_its_own_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FEATX_GPU_MEMORY", "500MiB")
    session = open_session(catalog.find("minilm-l6").file("graph"), device="cuda")
    ids = np.ones((512, 256), dtype=np.int64)

    with pytest.raises(DeviceMemoryError, match="cuda:0: out of memory"):
        session.run(["token_embeddings"], {"input_ids": ids, "attention_mask": ids})

    few = {"input_ids": ids[:2], "attention_mask": ids[:2]}
    assert session.run(["token_embeddings"], few)[0].shape == (2, 256, 384)


@pytest.mark.gpu
def test_cuda_stands_for_every_cuda_device() -> None:
    assert devices_of("cuda") == [f"cuda:{number}" for number in range(cuda_devices())]
    assert devices_of("cuda:0") == ["cuda:0"]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["bert_dynamo", "mobilenet_dynamo", "convnext_legacy"])
def test_training_on_cuda_follows_the_cpu(name: str) -> None:
    model, feeds, width = at_cut(name, rows=8)
    names, head = trainable(model), (drawn(3, width), np.zeros(3, dtype=np.float32))
    targets = one_hot(np.arange(8) % 3, 3)
    cpu, cuda = (
        Trainer(
            model,
            names,
            head=head,
            optimiser=Optimiser(l2_sp=1e-3),
            settings=Settings(device=device, threads=1),
        )
        for device in ("cpu", "cuda")
    )

    losses = [
        [made.step(feeds, targets, np.ones(8, np.float32), 1e-3) for _ in range(20)]
        for made in (cpu, cuda)
    ]

    assert cuda.device == "cuda:0"
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    np.testing.assert_allclose(cuda.logits(feeds), cpu.logits(feeds), atol=1e-2)
