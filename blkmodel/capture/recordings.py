"""Recordings that travel with the package: what real kernels and tools did, by their names in tests/recordings."""

from pathlib import Path

import blkmodel

_PACKAGE = Path(blkmodel.__file__).parent
_PLACES = _PACKAGE / "recordings", _PACKAGE.parent / "tests" / "recordings"
"""Installed from a wheel they lie within the package; in a checkout beside it."""


def recording(name: str) -> Path:
    """Return the path of a recording, such as `linux-5.4/calls/read-4k.json`; FileNotFoundError where there is none."""
    for place in _PLACES:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"no recording {name}; looked in {' and '.join(map(str, _PLACES))}")


def every(kind: str) -> list[Path]:
    """Return the paths of all recordings of a kind: `calls`, `device`, `dm`, `maps` or `tables`."""
    return sorted(path for place in _PLACES for path in (place / "linux-5.4" / kind).glob("*.json"))
