"""Cells of memory that hold the addresses of compiled functions: how compiled code calls what is compiled apart.

Each function that may be called has a cell for each of its signatures, whose own address is a symbol of the process, so
that code from a cache on disk holds no address of another process. A cell is filled when it is first called through:
what is never called is never compiled, nor loaded.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from collections.abc import Callable
from typing import Protocol

import llvmlite.binding
from numba import types

from fastconv._runtime.store import checksum, fingerprint

FILL = "fastconv.fill"

Signature = tuple[types.Type, ...]


class Compiled(Protocol):
    """A function that can be called, compiled: see `forms.Form`."""

    def address(self, signature: Signature) -> int:
        """Where its code lies."""


_compiled: dict[str, Compiled] = {}
_cells: dict[str, Cell] = {}
_cells_at: dict[int, Cell] = {}


def register(name: str, compiled: Compiled) -> None:
    """Have cells of this name, "module:function", be of that function."""
    _compiled[name] = compiled


def compiled_of(name: str) -> Compiled:
    """The function that a name stands for."""
    if name not in _compiled:
        importlib.import_module(name.partition(":")[0])
    return _compiled[name]


def all_compiled() -> list[Compiled]:
    """All functions that names stand for so far."""
    return list(_compiled.values())


class Cell:
    """Where the address of a function's code for one signature is, once it has been called.

    Attributes:
        name: of the function.
        signature: the types of its arguments.
        symbol: by which LLVM knows the cell.
    """

    def __init__(self, name: str, signature: Signature, symbol: str):
        self.name, self.signature, self.symbol = name, signature, symbol
        self._address = ctypes.c_void_p()
        llvmlite.binding.add_symbol(symbol, ctypes.addressof(self._address))
        _cells_at[ctypes.addressof(self._address)] = self

    def fill(self) -> None:
        """Note where the code lies."""
        self._address.value = compiled_of(self.name).address(self.signature)


def cell(name: str, signature: Signature) -> Cell:
    """The cell of a function for a signature."""
    symbol = f"fastconv.{name}.{checksum(repr(signature).encode()).hex()[:16]}"
    if symbol not in _cells:
        _cells[symbol] = Cell(name, signature, symbol)
    return _cells[symbol]


def cells_of(module: llvmlite.binding.ModuleRef) -> list[Cell]:
    """Those that the code of a module calls through."""
    return [_cells[found.name] for found in module.global_variables if found.name in _cells]


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _fill(address: int) -> None:
    """For compiled code: fill the cell at an address."""
    wanted = _cells_at[address]
    if isinstance(threading.current_thread(), threading._DummyThread):
        # a thread of a parallel loop, whose stack may be too small for a compiler
        compiling = threading.Thread(target=wanted.fill)
        compiling.start()
        compiling.join()
    else:
        wanted.fill()


llvmlite.binding.add_symbol(FILL, ctypes.cast(_fill, ctypes.c_void_p).value)


class Need:
    """A cell that users' compiled code refers to, in their cache: to read one back makes the cell."""

    def __init__(self, cell: Cell):
        self.cell = cell

    def __reduce__(self) -> tuple[Callable, tuple[bytes, str, Signature]]:
        name, signature = self.cell.name, self.cell.signature
        return _needed, (_stamp(name, signature), name, signature)


def _stamp(name: str, signature: Signature) -> bytes:
    """What shows that a `Need` is of these sources, and that it is whole: another cell would call another function."""
    return checksum(f"{fingerprint()} {name} {signature}".encode())


def _needed(stamp: bytes, name: str, signature: Signature) -> Need:
    if stamp != _stamp(name, signature):
        # Numba's cache looks at the user's file alone, and would go on with code for an older fastconv; of all errors
        # it takes this one for a file that is not there, and compiles again
        raise FileNotFoundError("compiled for other sources of fastconv, or damaged")
    return Need(cell(name, signature))
