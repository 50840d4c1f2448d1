"""What MODEL names: a network that can be built; and why a file of another program is none. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from nas.errors import InputError

BUILD = "give what builds the network instead, torchvision.NAME or package.module:function"
# Ending -> what such a file is, and what to give in its place.
ELSEWHERE: Mapping[str, str] = {
    ".onnx": f"an exported file, whose layers cannot be trained any more; {BUILD}, and its weights with --weights FILE",
    ".safetensors": f"weights without a network; {BUILD}, and this file with --weights",
    ".py": "a file of code; give package.module:function, with the folder that holds it as the current one",
    ".yaml": "a study, which says what is searched; give the network, and the study with --data",
    ".tflite": f"an exported file; {BUILD}",
    ".h5": f"a file of Keras; {BUILD}, of a module of torch",
    ".keras": f"a file of Keras; {BUILD}, of a module of torch",
}
LONGEST = 80  # letters of a study's name
PICKLED = (
    "a pickled file, which may hold any code and is not opened; "
    f"{BUILD}, and the weights with --weights: safetensors, or a state_dict"
)
ELSEWHERE = {
    **ELSEWHERE,
    ".yml": ELSEWHERE[".yaml"],
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".pt2", ".torchscript"), PICKLED),
}


def space_of(model: str, *, weights: str = "none", trusted: bool = False) -> dict[str, Any]:
    """The section `space` of a study for the network that `model` names. Raises InputError where it names none."""
    refuse_files(model)
    space: dict[str, Any] = {"base": model}
    if weights != "none":
        space["weights"] = weights
    if trusted:
        space["trusted"] = True
    return space


def refuse_files(model: str) -> None:
    """Raise InputError, with what to give instead, for the name of a file or folder."""
    if why := ELSEWHERE.get(PurePath(model).suffix.lower()):
        raise InputError(f"MODEL: {model}: expected the name of a network, got {why}")
    if (Path(model) / "study.yaml").exists():
        raise InputError(f"MODEL: {model}: expected the name of a network, got a run folder: `nas export` copies of it")
    if Path(model).is_dir() or Path(model).is_file():
        raise InputError(f"MODEL: {model}: expected the name of a network, got a file or a folder; {BUILD}")


def name_of(space: Mapping[str, Any]) -> str:
    """The last word of what the network is called: a name for a study."""
    last = str(space.get("base", "network")).replace(":", ".").rpartition(".")[2]
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in last)
    return plain.strip("-").lower()[:LONGEST] or "network"
