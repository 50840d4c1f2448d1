"""The program on a model card that classifies one image with ONNX Runtime; it treats the image as training did."""

from __future__ import annotations

from nas.data.decoding import Form, Resize
from nas.data.pixels import source

# Single braces are filled in; everything else the program reads from the file itself.
_PROGRAM = """\
import json
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from PIL import Image


{functions}

model = Path(__file__).resolve().with_name("{file_name}").read_bytes()
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])

image = upright(opened(sys.argv[1]))
if image.mode.startswith("I"):
    image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
if image.has_transparency_data:
    image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
image = image.convert("{mode}")
{resize}
pixels = np.asarray(image, dtype=np.float32).reshape({size}, {size}, {channels}) / 255
logits = session.run(["logits"], {{"image": pixels.transpose(2, 0, 1)[np.newaxis]}})[0][0]

sys.stdout.reconfigure(errors="replace")
scores = np.exp(logits - logits.max())
for index in np.argsort(-logits)[:5]:
    print(f"{{scores[index] / scores.sum():7.2%}}  {{classes[index]}}")
"""
_RESIZE: dict[Resize, str] = {
    "stretch": "image = image.resize(({size}, {size}), Image.Resampling.BILINEAR, reducing_gap=3.0)",
    "crop": """\
side = min(image.size)
left, top = ((length - side) / 2 for length in image.size)
square = (left, top, left + side, top + side)
image = image.resize(({size}, {size}), Image.Resampling.BILINEAR, box=square, reducing_gap=3.0)""",
    "letterbox": """\
width, height = (max(1, round(length * {size} / max(image.size))) for length in image.size)
inner = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
image = Image.new(image.mode, ({size}, {size}))
image.paste(inner, (({size} - width) // 2, ({size} - height) // 2))""",
}


def program(file_name: str, form: Form) -> str:
    """Python that needs onnxruntime, numpy and pillow; run as `predict.py IMAGE` beside the model's file."""
    return _PROGRAM.format(
        functions=source(),
        file_name=file_name,
        mode="L" if form.channels == 1 else "RGB",
        size=form.size,
        channels=form.channels,
        resize=_RESIZE[form.resize].format(size=form.size),
    )
