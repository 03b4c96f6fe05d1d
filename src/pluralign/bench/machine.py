"""Where a benchmark ran: processor, threads, matrix library, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "numpy")


def about(device: str, gemm_peak: float, onednn_used: bool) -> dict[str, Any]:
    """What a reader needs to place the numbers; `gemm_peak` in operations per second."""
    import torch

    from pluralign import __version__

    found = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "gemm": gemm_library(),
        "gemm_peak_gflops": round(gemm_peak / 1e9, 1),
        "trl_tuned_uses_onednn": onednn_used,
        "python": platform.python_version(),
        "versions": {"pluralign": __version__} | {name: metadata.version(name) for name in LIBRARIES},
    }
    if device != "cpu":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def gemm_library() -> str:
    """The library behind torch's float32 matrix products on the CPU."""
    import torch

    if torch.backends.mkl.is_available():
        return "MKL"
    lines = [line for line in torch.__config__.show().splitlines() if "BLAS_INFO" in line]
    return lines[0].partition("BLAS_INFO=")[2].split(",")[0] if lines else "unknown"


def processor() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return platform.processor() or "unknown"
