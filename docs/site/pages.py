"""Puts the pages of the site together: the Markdown files that `docs/SUMMARY.md` names, in the folders in which they are in the
repository, so that most links stay as they are. A linked file that is no page, such as `klines.example.toml`, becomes one."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = ROOT / "docs/SUMMARY.md"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^\s*(```|~~~)")
IMAGES = {".png", ".svg"}
# The languages of code blocks, by the end of a file's name.
LANGUAGES = {".toml": "toml", ".yaml": "yaml", ".json": "json", ".py": "python", ".wit": "wit", ".example": "ini"}


def target_of(page, link):
    """Returns the file that a link names and the anchor in it; None for links to elsewhere."""
    path, _, anchor = link.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return None
    return (page.parent / path).resolve(), anchor


def outside_code(text):
    """Yields each line, and whether it is outside of blocks of code."""
    is_code = False
    for line in text.splitlines(keepends=True):
        is_fence = FENCE.match(line)
        is_code ^= bool(is_fence)
        yield line, not (is_code or is_fence or line.startswith("    "))


def page_name(file):
    """Returns the name of the page of a file that is no Markdown. Servers may hide names that begin with a dot."""
    name = file.relative_to(ROOT)
    return name.with_name(name.name.lstrip(".") + ".md") if name.suffix != ".md" else name


class Site:
    """The pages in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {}
        self.named = set()

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def add_page(self, page):
        """Writes a page, with its links to files that are no pages turned to their pages."""
        def turned(match):
            found = target_of(page, match[2])
            if found is None or found[0].suffix == ".md":
                # mdBook calls the page of a README the index of its folder, and leaves the links to it as they are.
                return match[0].replace("README.md", "index.md")
            file, anchor = found
            assert file.is_file(), f"{page.relative_to(ROOT)}: {match[2]} is no file"
            if file.suffix in IMAGES:
                self.add_image(file)
                return match[0]
            self.files[file] = page_name(file)
            up = "../" * (len(page.relative_to(ROOT).parts) - 1)
            return f"{match[1]}{up}{self.files[file]}{'#' + anchor if anchor else ''}{match[3]}"

        lines = (LINK.sub(turned, line) if is_text else line for line, is_text in outside_code(page.read_text()))
        self.write(page.relative_to(ROOT), "".join(lines))

    def add_image(self, file):
        copy = self.folder / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)

    def add_file(self, file):
        """Writes the page of a file: its text as code."""
        text = file.read_text()
        fence = "`" * 4
        language = LANGUAGES.get(file.suffix, "text")
        self.write(page_name(file), f"# {file.relative_to(ROOT)}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n")

    def add_all(self):
        """Writes every page and the list of them."""
        def turned(match):
            page, _ = target_of(SUMMARY, match[2])
            self.add_page(page)
            return f"{match[1]}{page.relative_to(ROOT)}{match[3]}"

        summary = LINK.sub(turned, SUMMARY.read_text())
        for file in sorted(self.files):
            self.add_file(file)
        files = "".join(f"- [{file.relative_to(ROOT)}]({page})\n" for file, page in sorted(self.files.items()))
        self.write("SUMMARY.md", f"{summary}\n# Files\n\n{files}")


def main(site):
    shutil.rmtree(site, ignore_errors=True)
    Site(site / "src").add_all()
    for name in ("book.toml", "site.css"):
        shutil.copyfile(Path(__file__).parent / name, site / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
