"""What every runtime that reads ONNX files does in the same way. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.runtime import FileCosts, FileForecast, FileHeader, FileZeros, Usage

if TYPE_CHECKING:
    from nas.candidates.candidate import Candidate
    from nas.data.decoding import Form


class ReadsOnnx:
    """The part of a Runtime that depends on the file alone, not on the engine that reads it."""

    file_name = "model.onnx"
    storage: Storage = SMALLEST  # of the weights in its files
    refused: Mapping[str, str] = MappingProxyType({})

    def costs(self, file: Path) -> FileCosts:
        from nas.runtimes.onnx.files import file_costs

        return file_costs(file)

    def coded(self, file: Path) -> bytes:
        from nas.runtimes.onnx.coding import coded_file

        return coded_file(file.read_bytes())

    def refuse_unsafe(self, content: bytes) -> None:
        from nas.runtimes.onnx.strangers import refuse_unsafe

        refuse_unsafe(content)

    def zeros(self, file: Path) -> FileZeros:
        from nas.runtimes.onnx.files import file_zeros

        return file_zeros(file)

    def forecast(self, candidate: Candidate, header: FileHeader) -> FileForecast | None:
        from nas.runtimes.onnx.forecast import forecast

        return forecast(candidate, header, self.storage)

    def class_names(self, file: Path) -> tuple[str, ...]:
        from nas.runtimes.onnx.usage import class_names

        return class_names(file)

    def usage(self, file: Path, form: Form) -> Usage:
        from nas.runtimes.onnx.usage import usage_of

        return usage_of(file, form)

    def control(self) -> bytes:
        from nas.runtimes.onnx.control import control_file

        return control_file()
