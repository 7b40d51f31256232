"""Hatchling's hook: put machine code into a wheel where FASTCONV_MACHINE_CODE names the folder that holds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MachineCode(BuildHookInterface):
    """Without the variable, as in `pip install .` from a checkout, a wheel is of Python alone, and compiles."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the archives, and say that the wheel is of this Python on this platform."""
        folder = os.environ.get("FASTCONV_MACHINE_CODE")
        if not folder or version == "editable":
            return
        for path in sorted(Path(folder).glob("*.code")):
            build_data["force_include"][str(path)] = f"fastconv/machine_code/{path.name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
