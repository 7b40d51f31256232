"""The onnx package, imported when it is used."""

from __future__ import annotations

from typing import Any

from fastconv.errors import MissingExtraError


def onnx_library() -> Any:
    """The onnx package with the modules that are used here.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise MissingExtraError('ONNX files need onnx: pip install "fastconv[onnx]"') from error
    return onnx
