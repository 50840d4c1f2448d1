"""Which results of a part's operations are held in codes, and on which scales. No torch.

It is `compressors/quantization/placing.py` foretold, and where `layers.py` keeps a layer between codes one of floats.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nas.runtimes.onnx.outline import CLAMPING, KEEPING, MOVING
from search_spaces.flows import INPUT, Operation


def held_operations(flow: Sequence[Operation], quantized: Collection[str], *, input_held: bool) -> set[int]:
    """Operations whose results are held in codes, as far as the part decides that; INPUT too where it asks for it."""
    held = {INPUT} if input_held else set[int]()
    for number, operation in enumerate(flow):
        if operation.op == "layer" and operation.layer in quantized:
            held |= {*operation.reads, result_of(flow, number), *_moved_pixels(flow, operation.reads[0])}
    for number, operation in enumerate(flow):
        if operation.op in KEEPING and held.issuperset(operation.reads):
            held.add(result_of(flow, number))
    return held


def _moved_pixels(flow: Sequence[Operation], number: int) -> set[int]:
    """What leads from pixels, normalized by one number, to an operation that only moves them; else nothing."""
    way = set[int]()
    while number != INPUT and flow[number].op in MOVING:
        way.add(number)
        (number,) = flow[number].reads
    return way | {number} if number != INPUT and keeps_pixels(flow[number]) else set()


def keeps_pixels(operation: Operation) -> bool:
    """Whether pixels lie on a grid behind an operation: where they are normalized, by one number for all channels."""
    return operation.op == "normalize" and not dict(operation.fields).get("channels")


def is_quantized_again(flow: Sequence[Operation], number: int, held: Collection[int]) -> bool:
    """Whether a quantizer stands behind an operation's result, or behind what clamps or moves it."""
    while number not in held:
        users = [user for user, operation in enumerate(flow) if number in operation.reads]
        if len(users) != 1 or flow[users[0]].op not in (*CLAMPING, *MOVING):
            return False
        number = users[0]
    return True


def led_out(flow: Sequence[Operation], held: Collection[int]) -> set[int]:
    """Of the last operations' results those that are held: not the logits, nor what is only moved to become them."""
    last = len(flow) - 1
    left = set(held) - {last}
    while flow[last].op in MOVING:
        (last,) = flow[last].reads
        if result_of(flow, last) in left and flow[last].op not in ("layer", *CLAMPING):
            left -= {last}
        else:
            break
    return left


def fixed_operations(
    flow: Sequence[Operation], layers: Collection[str], *, input_fixed: bool, output_fixed: bool
) -> set[int]:
    """Operations, perhaps INPUT, whose results have a scale that is a power of two: those around such `layers`, and
    those of such results alone.
    """
    fixed = {len(flow) - 1} if output_fixed else set[int]()
    fixed |= {INPUT} if input_fixed else set[int]()
    for number, operation in enumerate(flow):
        if operation.op == "layer" and operation.layer in layers:
            fixed |= {*operation.reads, result_of(flow, number)}
    for number, operation in reversed(list(enumerate(flow))):
        if number in fixed and operation.op in MOVING:
            fixed |= set(operation.reads)
    for number, operation in enumerate(flow):
        if operation.op in KEEPING and fixed.issuperset(operation.reads):
            fixed.add(result_of(flow, number))
    return fixed


def result_of(flow: Sequence[Operation], number: int) -> int:
    """Where codes appear: behind the ReLU that alone reads an operation's result, or at once."""
    users = [user for user, operation in enumerate(flow) if number in operation.reads]
    return users[0] if len(users) == 1 and flow[users[0]].op in CLAMPING else number
