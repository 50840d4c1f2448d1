"""ONNX files: how a network becomes one, and what one costs."""
