"""`nas decode`: the file comes back beside the coded one; what is none ends in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import HEADER, MIXED, quantized
from typer.testing import CliRunner

from nas.cli import app
from nas.commands.decode import coded_name, decode_file
from nas.errors import InputError
from nas.runtimes.onnxruntime import ONNXRUNTIME


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(ONNXRUNTIME.emit(quantized(MIXED), HEADER))
    (tmp_path / coded_name(file.name)).write_bytes(ONNXRUNTIME.coded(file))
    return file


def test_the_file_comes_back(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    assert decode_file(tmp_path / "model.nasz") == model  # there already, and the same
    model.unlink()
    assert decode_file(tmp_path / "model.nasz").read_bytes() == before
    result = CliRunner().invoke(app, ["decode", str(tmp_path / "model.nasz"), "--to", str(tmp_path / "again.onnx")])
    assert result.exit_code == 0
    assert (tmp_path / "again.onnx").read_bytes() == before


def test_another_file_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    model.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"model.onnx: exists and is something else; --to FILE writes another file$"):
        decode_file(tmp_path / "model.nasz")
    assert model.read_bytes() == b"mine"


def test_what_is_no_coded_file_is_refused_in_one_line(model: Path, tmp_path: Path) -> None:
    blob = (tmp_path / "model.nasz").read_bytes()
    cases = {
        b"": "does not begin with NASZ",
        model.read_bytes(): "does not begin with NASZ",
        blob[:-1]: "is damaged",
        blob[:100] + bytes([blob[100] ^ 1]) + blob[101:]: "is damaged",
    }
    for content, words in cases.items():
        (tmp_path / "other.nasz").write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            decode_file(tmp_path / "other.nasz")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "other.onnx").exists()
    with pytest.raises(InputError, match=r"none.nasz: cannot be read: No such file"):
        decode_file(tmp_path / "none.nasz")
