"""`nas agent`: measures files on a device for studies that run elsewhere; and the client that asks it to.

The agent's side imports numpy, onnx, pydantic and the engine that a target names, nothing else: it starts on a board
that has no torch. `python -m nas.measuring.agent` is the same program without the command line's libraries.
"""
