"""`python -m tests.tools.links`: whether what the built book links to on other hosts is still there.

Each address is asked once, one at a time on each host. Gone is what its host says is gone, or whose host has no
address any more; a host that wants no programs, or is out of order today, is only counted.
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from socket import gaierror
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag, urlsplit
from urllib.request import Request, urlopen

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"
LINK = re.compile(r'<a\b[^>]*\shref="(https?://[^"]+)"')
GONE = {404, 410}
PAUSE = 0.5  # seconds between two questions to one host
PROGRAM = {"User-Agent": "Mozilla/5.0 (compatible; link check of a book, once a week)"}


def outside(site):
    """Address → the pages that link to it, of addresses on other hosts."""
    found: dict[str, list[str]] = defaultdict(list)
    for page in sorted(site.rglob("*.html")):
        for address in {urldefrag(unescape(each))[0] for each in LINK.findall(page.read_text("utf8"))}:
            found[address].append(page.relative_to(site).as_posix())
    return dict(found)


def asked(address, pause=PAUSE):
    """What became of an address: "there", "gone: …", or "unclear: …"."""
    time.sleep(pause)
    try:
        with urlopen(Request(address, headers=PROGRAM), timeout=30):
            return "there"
    except HTTPError as error:
        return f"{'gone' if error.code in GONE else 'unclear'}: {error.code}"
    except URLError as error:
        return f"{'gone' if isinstance(error.reason, gaierror) else 'unclear'}: {error.reason}"
    except OSError as error:
        return f"unclear: {error}"


def ask_all(addresses, pause=PAUSE):
    """Address → what became of it. Several hosts are asked side by side."""
    hosts = defaultdict(list)
    for address in sorted(addresses):
        hosts[urlsplit(address).netloc].append(address)
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda own: [(each, asked(each, pause)) for each in own], hosts.values())
        return dict(pair for host in answers for pair in host)


def main(site=SITE, pause=PAUSE):
    links = outside(site)
    found = ask_all(links, pause)
    for address, answer in found.items():
        if answer != "there":
            print(f"{answer}\t{address}\t{', '.join(links[address][:3])}")
    gone = sum(answer.startswith("gone") for answer in found.values())
    unclear = sum(answer.startswith("unclear") for answer in found.values())
    print(f"{len(found)} addresses: {gone} gone, {unclear} unclear")
    return gone


if __name__ == "__main__":
    sys.exit(bool(main()))
