"""The program on a model card, without the engine: what it hands to it. Cards' own tests run it as a whole."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nas.data.decoding import Form, Resize, decode
from nas.runtimes.onnx.program import program


@pytest.mark.parametrize("shape", [(70, 50), (20, 41), (32, 32)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_the_program_sees_what_training_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resize: Resize, channels: int, mode: str, shape: tuple[int, int]
) -> None:
    seen: list[np.ndarray] = []
    session = SimpleNamespace(
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map={"class_names": "[0, 1]"}),
        run=lambda _, inputs: seen.append(inputs["image"]) or [np.zeros((1, 2))],
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=lambda *_, **__: session))
    file = tmp_path / "turned.png"
    bands = len(Image.new(mode, (1, 1)).getbands())
    kind = np.uint16 if mode == "I;16" else np.uint8
    noise = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (*shape, bands), kind, endpoint=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(noise.squeeze()).save(file, exif=exif)
    monkeypatch.setattr(sys, "argv", ["predict.py", str(file)])
    code = program("model.onnx", Form(channels, 32, resize))
    (tmp_path / "model.onnx").touch()
    exec(compile(code, "predict.py", "exec"), {"__file__": str(tmp_path / "predict.py")})
    expected = decode(Image.open(file), Form(channels, 32, resize))
    assert np.array_equal(np.round(seen[0][0] * 255), expected)
