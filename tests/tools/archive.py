"""`python -m tests.tools.archive OUT.zip`: the built site in one file, for reading where there is no network.

The same site gives the same bytes. Pages that say a policy are without it here: read from disk, they are no site that
the policy could allow. What is read over HTTP alone, the engine's binary parts, is left out.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"
FOLDER = "how-linux-block-io-really-works"
LEFT_OUT = re.compile(r"\.built|\.buildinfo|sitemap\.xml|404\.html|_static/engine/(?!.*\.part\.js$).*")
POLICY = re.compile(rb'\s*<meta http-equiv="Content-Security-Policy"[^>]*>')
MIDNIGHT = (1980, 1, 1, 0, 0, 0)


def pack(site, out):
    """Write the archive OUT of a site; return how many files it has."""
    files = [path for path in sorted(site.rglob("*"))
             if path.is_file() and not LEFT_OUT.fullmatch(path.relative_to(site).as_posix())]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            content = path.read_bytes()
            if path.suffix == ".html":
                content = POLICY.sub(b"", content)
            entry = zipfile.ZipInfo(f"{FOLDER}/{path.relative_to(site).as_posix()}", MIDNIGHT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return len(files)


if __name__ == "__main__":
    number = pack(SITE, Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {number} files, {Path(sys.argv[1]).stat().st_size / 1e6:.1f} MB")
