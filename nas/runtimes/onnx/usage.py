"""What the user of an ONNX file is told: its class names, what it needs, and a program that runs it. No torch."""

from __future__ import annotations

import json
from pathlib import Path

from nas.data.decoding import Form
from nas.runtimes.onnx.program import program
from nas.runtimes.onnx.requirements import requirement_of
from nas.runtimes.runtime import Usage


def usage_of(file: Path, form: Form) -> Usage:
    """With onnxruntime, whichever runtime it was made for: that is the most common one, and runs every file of ours."""
    return Usage(str(requirement_of(file)), program(file.name, form))


def class_names(file: Path) -> tuple[str, ...]:
    """The class names in a file's metadata; none where the file cannot tell."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        properties = {p.key: p.value for p in onnx.load(file, load_external_data=False).metadata_props}
        return tuple(str(name) for name in json.loads(properties["class_names"]))
    except (OSError, DecodeError, KeyError, ValueError):
        return ()
