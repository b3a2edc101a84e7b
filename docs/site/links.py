"""Checks that every link inside of the repository leads somewhere, anchors included: those of the Markdown files, as a forge shows
them, and those of the site, as a browser follows them, pictures included. Needs no network; addresses of others are not looked at."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from pages import LINK, ROOT, outside_code, target_of

HEADING = re.compile(r"#{1,6}\s+(.*)")
# Files with placeholders, and those of others.
SKIPPED = ("runtime/templates/", "runtime/tests/fixtures/")
# The attributes of HTML that hold an address.
ADDRESSES = {"href", "src"}


def anchors(text):
    """Returns the anchors that a forge gives to the headings of a Markdown file."""
    found, counts = set(), {}
    for line, is_text in outside_code(text):
        heading = HEADING.match(line) if is_text else None
        if heading:
            words = re.sub(r"\]\([^)]*\)", "", heading[1])
            slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
            count = counts[slug] = counts.get(slug, -1) + 1
            found.add(f"{slug}-{count}" if count else slug)
    return found


def check_markdown():
    """Returns the number of links of the Markdown files, and those that lead nowhere."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
    names = [name for name in listed.stdout.splitlines() if not name.startswith(SKIPPED)]
    known, count, dead = {}, 0, []
    for name in names:
        page = ROOT / name
        for line, is_text in outside_code(page.read_text()):
            for match in LINK.finditer(line) if is_text else ():
                link = match[2]
                found = (page, link[1:]) if link.startswith("#") else target_of(page, link)
                if found is None:
                    continue
                count += 1
                file, anchor = found
                if anchor and file.suffix == ".md" and file.is_file():
                    known.setdefault(file, anchors(file.read_text()))
                if not file.exists() or (anchor and anchor not in known.get(file, ())):
                    dead.append(f"{name}: {link}")
    return count, dead


class Page(HTMLParser):
    """The ids and the addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ADDRESSES and value and tag != "base":
                self.addresses.append(value)


def is_shown(file):
    """Returns whether a browser can show a file: it shows nothing of a picture that is not XML."""
    try:
        return file.suffix != ".svg" or bool(ElementTree.parse(file))
    except ElementTree.ParseError:
        return False


def check_site(folder):
    """Returns the number of links of the site, and those that lead nowhere."""
    pages = {path: Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    count, dead = 0, []
    for path, page in pages.items():
        # The page for addresses that do not exist is served from any folder.
        folder_of = folder if path.name == "404.html" else path.parent
        for address in page.addresses:
            if re.match(r"[a-z]+:|//", address):
                continue
            count += 1
            name, _, anchor = unquote(address).partition("#")
            file = (folder_of / name.lstrip("/")).resolve() if name else path
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file() or (anchor and anchor not in pages[file].ids) or not is_shown(file):
                dead.append(f"{path.relative_to(folder)}: {address}")
    return count, dead


def main(folder):
    is_sound = True
    for what, (count, dead) in {"Markdown": check_markdown(), "the site": check_site(folder)}.items():
        print(f"{count} links of {what} inside the repository, {len(dead)} of them dead", *dead, sep="\n  ")
        # Without any link, the pages were not found.
        is_sound &= count > 0 and not dead
    return 0 if is_sound else 1


sys.exit(main(Path(sys.argv[1]).resolve()))
