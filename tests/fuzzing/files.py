"""Damaged files of every format that is read: each loads, or is refused with an error that names it.

Files are made once; a case takes one of them and changes it outside, as a bad disk would, or inside, with checksums
made right again, as somebody might who means harm. Child processes read them, tell each case before it, and may die.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import child
from fuzzing.hunt import Findings, Hunt

SCRIPT = "import sys; from fuzzing import files; files.work(sys.argv[1], *map(int, sys.argv[2:]))"
SECONDS = 20.0  # for one case, on a busy machine
MEGABYTES = 400  # more than before it
BATCH = 20_000
SHAPE, KIND = (1, 28, 28), np.dtype(np.float32)
ODD = (
    None, True, -1, 0, 1, 3, 10**12, 2**62, 2**64, 10**400, 0.5, 1e308, float("nan"), "", "x", "float16", "<f4", "adam",
    [], [1], [[]], [1, 2**31, 2**31], [0, 2**62, 2**62], {}, {"epoch": []},
)  # fmt: skip
ODD_TEXT = (
    b"(", b")", b"((((", b"'", b"\"", b"{", b"}", b",", b"-1", b"0", b"True", b"None", b"99999999999999999999", b"1e9",
    b"|O", b"<c8", b">f8", b"<U9", b"|V4", b"\\x", b"\\N{DIGIT ONE}", b"#", b"\0", b"\xff", b"L", b"[1]", b"-" * 300,
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A kind of file, how it is read, and how one is changed inside, if it can be."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    inside: Callable[[bytes, np.random.Generator], bytes] | None = None


def bytes_changed(whole: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """Bits, bytes or words changed, the end cut off, pieces put in, taken out, doubled, or taken from another file."""
    content = bytearray(whole)
    high = len(content) if rng.integers(2) else min(len(content), 300)  # where headers are
    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        place = int(rng.integers(max(1, min(high, len(content)))))
        if rng.integers(4) == 0:
            place = max(0, len(content) - 1 - place)  # where zip files have theirs
        length = int(rng.integers(1, 20))
        piece = content[place : place + length]
        odd = int(rng.choice([0, 1, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62]))
        kind = int(rng.integers(9))
        if kind == 0:
            content[place : place + 1] = bytes(byte ^ 1 << int(rng.integers(8)) for byte in piece[:1])
        elif kind == 1:
            content[place : place + length] = rng.bytes(len(piece))
        elif kind == 2:
            content[place:place] = rng.bytes(length)
        elif kind == 3:
            del content[place : place + length]
        elif kind == 4:
            content[place:place] = piece * int(rng.integers(1, 50))
        elif kind == 5:
            content[place : place + 8] = struct.pack("<Q" if rng.integers(2) else ">Q", odd)
        elif kind == 6:
            content[place : place + 4] = struct.pack("<I" if rng.integers(2) else ">I", odd % 2**32)
        elif kind == 7:
            text = ODD_TEXT[int(rng.integers(len(ODD_TEXT)))]
            content[place : place + int(rng.integers(3))] = text
        else:
            del content[place:]
            content += other[place : place + int(rng.integers(1, 3000))]
    return bytes(content)


def json_changed(value: Any, rng: np.random.Generator) -> Any:
    """One thing in a JSON value is odd, missing, or of another name."""
    if not (isinstance(value, dict | list) and value) or rng.integers(5) == 0:
        return ODD[int(rng.integers(len(ODD)))]
    changed: Any = value.copy()
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[int(rng.integers(len(keys)))]
    way = int(rng.integers(8))
    if way == 0:
        del changed[key]
    elif way == 1 and isinstance(value, dict):
        changed["odd"] = changed.pop(key)
    else:
        changed[key] = json_changed(value[key], rng)
    return changed


def _zip_inside(whole: bytes, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(rng.integers(len(members)))]
    if "facts.npy" in members and rng.integers(2):
        facts = json.loads(str(np.load(io.BytesIO(members["facts.npy"]))))
        file = io.BytesIO()
        np.save(file, np.array(json.dumps(json_changed(facts, rng))))
        members["facts.npy"] = file.getvalue()
    else:
        members[name] = bytes_changed(members[name], rng)
        members[str(rng.choice([name, "other.npy", "facts.npy"], p=[0.8, 0.1, 0.1]))] = members.pop(name)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _gzip_inside(whole: bytes, rng: np.random.Generator) -> bytes:
    return gzip.compress(bytes_changed(gzip.decompress(whole), rng), 1)


def _safetensors_inside(whole: bytes, rng: np.random.Generator) -> bytes:
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    text = json.dumps(json_changed(header, rng)).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


def _png_inside(whole: bytes, rng: np.random.Generator) -> bytes:
    found, place, chunks = whole[:8], 8, []
    while place < len(whole):
        length = int.from_bytes(whole[place : place + 4])
        chunks.append(whole[place + 4 : place + 8 + length])
        place += 12 + length
    chosen = int(rng.integers(len(chunks)))
    for number, chunk in enumerate(chunks):
        changed = bytes_changed(chunk, rng) if number == chosen else chunk
        found += max(0, len(changed) - 4).to_bytes(4) + changed + zlib.crc32(changed).to_bytes(4)
    return found


def _onnx_inside(whole: bytes, rng: np.random.Generator) -> bytes:
    import onnx

    model = onnx.ModelProto.FromString(whole)
    graph = model.graph
    node = graph.node[int(rng.integers(len(graph.node)))]
    tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
    odd = int(rng.choice([-1, 0, 1, 2, 7, 2**31, 2**62, -(2**63)]))
    way = int(rng.integers(7))
    if way == 0:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = odd
    elif way == 1:
        tensor.data_type = odd % 30
    elif way == 2:
        tensor.raw_data = bytes_changed(tensor.raw_data, rng)
    elif way == 3 and node.attribute:
        attribute = node.attribute[int(rng.integers(len(node.attribute)))]
        attribute.i, attribute.type = odd, int(rng.integers(15))
        attribute.ints.append(odd)
    elif way == 4:
        node.op_type = str(rng.choice([*(other.op_type for other in graph.node), "Pad", "Concat", "Clip", "Constant"]))
    elif way == 5:
        node.input[int(rng.integers(len(node.input)))] = str(rng.choice(["", "x", tensor.name, node.output[0]]))
    else:
        model.opset_import[0].version = odd
    return model.SerializeToString()


def _model_file(path: Path) -> None:
    from fastconv.checkpoint import Checkpoint, save_checkpoint
    from fastconv.history import History
    from fastconv.models import simple_convnet
    from fastconv.optim import SGD

    model = simple_convnet(rng=0)
    settings = {"model": "simple-convnet", "data": "digits", "dtype": "float32", "seed": 0, "classes": 10,
                "shape": list(SHAPE), "epochs": 2, "batch_size": 64, "lr": 0.1, "optimizer": "sgd"}  # fmt: skip
    history = History([{"epoch": 1, "train_loss": 0.5}])
    optimizer = SGD(model.parameters(), 0.1)
    save_checkpoint(path, Checkpoint(model.state_dict(), optimizer.state_dict(), settings, history))


def _picture_file(path: Path) -> None:
    from PIL import Image

    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28)
    Image.fromarray(pixels).convert("P" if path.suffix == ".gif" else "L").save(path)


def formats() -> dict[str, Format]:
    """Every format, by the file's name."""
    import onnx  # noqa: F401  # it and Pillow are there, or the hunt fails
    from PIL import Image  # noqa: F401

    from fastconv.checkpoint import load_model
    from fastconv.data.idx import read_idx, write_idx
    from fastconv.data.pictures import read_pictures
    from fastconv.models import simple_convnet
    from fastconv.onnx import export, load
    from fastconv.weights import load_weights, save_weights

    rng = np.random.default_rng(0)
    state = {"a": rng.standard_normal((3, 4)), "b.weight": np.ones(5, np.float32), "b.c": np.arange(6).reshape(2, 3).T}
    images = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)

    def picture(path: Path) -> object:
        return read_pictures(path, SHAPE, KIND)

    found = {
        "checkpoint.npz": Format(_model_file, load_model, _zip_inside),
        "weights.npz": Format(lambda path: save_weights(path, state), load_weights, _zip_inside),
        "packed.npz": Format(lambda path: np.savez_compressed(path, **state), load_weights, _zip_inside),
        "weights.safetensors": Format(lambda path: save_weights(path, state), load_weights, _safetensors_inside),
        "images.idx": Format(lambda path: write_idx(path, images), read_idx),
        "images.idx.gz": Format(lambda path: write_idx(path, images), read_idx, _gzip_inside),
        "picture.npy": Format(lambda path: np.save(path, images), picture),
        "picture.png": Format(_picture_file, picture, _png_inside),
        "model.onnx": Format(lambda path: export(simple_convnet(rng=0), path, (1, *SHAPE)), load, _onnx_inside),
    }
    others = ("jpg", "gif", "bmp", "tif")
    return found | {f"picture.{ending}": Format(_picture_file, picture) for ending in others}


def work(only: str, first: int, last: int, seed: int) -> None:
    """Read damaged files, those of the cases from `first` to before `last`; a line before and after each."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        known = {name: kind for name, kind in formats().items() if only in ("", name)}
        whole = {}
        for name, kind in known.items():
            kind.make(Path(folder, name))
            kind.read(Path(folder, name))
            whole[name] = Path(folder, name).read_bytes()
        for number in range(first, last):
            name = list(known)[number % len(known)]
            print(f"seed {seed}, case {number}: {name}", flush=True)
            rng = np.random.default_rng([seed, number])
            path = Path(folder, name)
            path.unlink()  # a new file: Pillow and onnx might keep the old one open
            path.write_bytes(_changed(known[name], name, whole, rng))
            print(_judged(known[name], path), flush=True)


def _changed(kind: Format, name: str, whole: dict[str, bytes], rng: np.random.Generator) -> bytes:
    other = whole[str(rng.choice(list(whole)))]
    if kind.inside and rng.integers(2):
        return kind.inside(whole[name], rng)
    return other if rng.integers(50) == 0 else bytes_changed(whole[name], rng, other)


def _judged(kind: Format, path: Path) -> str:
    """ "loaded", "refused", or what should not have been."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        kind.read(path)
        said = "loaded"
    except (ValueError, TypeError, MemoryError) as error:
        said = "refused" if str(path) in str(error) else f"{type(error).__name__} without the name: {error}"
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    seconds = time.perf_counter() - start
    if more > MEGABYTES:
        said = f"{said} after {more:.0f} MB"
    elif seconds > SECONDS:
        said = f"{said} after {seconds:.0f} s"
    return " ".join(said.split())[:400]


def run(cases: int, seed: int, findings: Findings, only: str = "") -> None:
    """Read so many damaged files, in turn of each format, or of one."""
    first = 0
    while first < cases:
        last = min(cases, first + BATCH)
        process = child.start(SCRIPT, only, first, last, seed, MALLOC_ARENA_MAX="2", PYTHONHASHSEED="0")
        ended = _watched(process)
        lines = process.said().splitlines()
        for case, said in zip(lines[::2], lines[1::2]):
            name = case.rpartition(" ")[2]
            with findings.case(f"{name} {said if said in ('loaded', 'refused') else 'otherwise'}", case):
                assert said in ("loaded", "refused"), said
        first += len(lines[1::2])
        if first < last:
            assert lines, ended
            with findings.case("death or standstill", lines[-1] if len(lines) % 2 else f"after {lines[-2]}"):
                raise AssertionError(ended)
            first += 1


def _watched(process: child.Started) -> str:
    """Wait for the end of a process, or end it if it says nothing for a time; how it ended."""
    said, since = 0, time.monotonic()
    while process.process.poll() is None:
        time.sleep(0.05)
        now = process.out.seek(0, 2)
        if now != said:
            said, since = now, time.monotonic()
        elif time.monotonic() - since > 3 * SECONDS:
            process.end()
            return f"nothing for {3 * SECONDS:.0f} s"
    code = process.process.returncode
    process.err.seek(0)
    words = process.err.read().decode(errors="replace").strip()[-1500:]
    process.end()
    return f"ended with {code}: {words}"


HUNT = Hunt(
    promise="a damaged file loads, or is refused with a ValueError, TypeError or MemoryError that names it; nothing"
    " else is raised, and no process dies, stands still or fills the memory",
    how="bits, bytes, words and pieces of files of each format changed, cut, put in and swapped, from outside and"
    " from inside with checksums made right again",
    run=run,
    short=6500,
    long=130_000,
)
