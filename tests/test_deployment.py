"""What the README shows of deployment works: run where this machine can, else compiled against the interfaces."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "tests" / "helpers" / "deployment"
CLASSES = ("dark", "light")


def snippet(language: str) -> str:
    """The only block of a language below the heading Deploy."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Deploy\n")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(block)


def tool(name: str) -> str:
    """The path of a compiler or interpreter, or no test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def ran(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_model(file: Path) -> None:
    """Logits (0, mean - 1/2) of a grey or colour image: the second class is a light picture."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    weight = np.array([[0, 1 / 3]] * 3, dtype=np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.float32([0, -0.5]), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"class_names": json.dumps(CLASSES)})
    onnx.save(model, str(file))


@pytest.mark.parametrize(("shade", "name"), [(30, "dark"), (220, "light")])
def test_python_runs(tmp_path: Path, shade: int, name: str) -> None:
    (tmp_path / "my-model").mkdir()
    write_model(tmp_path / "my-model" / "model.onnx")
    (tmp_path / "predict.py").write_text(snippet("python"), encoding="utf-8")
    Image.new("RGB", (20, 10), (shade,) * 3).save(tmp_path / "picture.png")
    assert ran(sys.executable, "predict.py", "picture.png", folder=tmp_path) == f"{name}\n"


def test_cpp_compiles(tmp_path: Path) -> None:
    (tmp_path / "snippet.cpp").write_text(snippet("cpp"), encoding="utf-8")
    flags = ("-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror")
    ran(tool("g++"), *flags, f"-I{PARTS}", "snippet.cpp", folder=tmp_path)


def test_java_gives_the_network_one_channel_after_the_other(tmp_path: Path) -> None:
    javac, java = tool("javac"), tool("java")
    (tmp_path / "Classifier.java").write_text(snippet("java"), encoding="utf-8")
    shutil.copy(PARTS / "Main.java", tmp_path)
    ran(
        javac,
        "-Xlint:all,-try,-serial",
        "-Werror",
        "-cp",
        PARTS,
        "-d",
        "out",
        "Main.java",
        "Classifier.java",
        folder=tmp_path,
    )
    assert ran(java, "-Xshare:auto", "-cp", "out", "Main", folder=tmp_path).split() == ["1.000", "0.498", "0.200"]


def test_javascript_gives_the_network_one_channel_after_the_other(tmp_path: Path) -> None:
    node = tool("node")
    package = tmp_path / "node_modules" / "onnxruntime-web"
    package.mkdir(parents=True)
    shutil.copy(PARTS / "onnxruntime-web.mjs", package / "index.mjs")
    (package / "package.json").write_text('{"name": "onnxruntime-web", "exports": "./index.mjs"}')
    (tmp_path / "snippet.mjs").write_text(snippet("js"), encoding="utf-8")
    shutil.copy(PARTS / "page.mjs", tmp_path)
    assert ran(node, "page.mjs", folder=tmp_path).split() == ["red", "green", "blue"]
