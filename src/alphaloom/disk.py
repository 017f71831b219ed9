"""What every room that writes files needs to survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["flush_folder"]


def flush_folder(path: Path) -> None:
    """Put a folder on the disk: a new or renamed file is safe only once its folder is there.   Windows: nothing."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
