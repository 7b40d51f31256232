"""Models as ONNX files (extra `onnx`): `export` writes one, `load` makes a layer of one."""

from fastconv.onnx.model import OnnxModel
from fastconv.onnx.reading import load
from fastconv.onnx.writing import export

__all__ = ["OnnxModel", "export", "load"]
