"""Writes `docs/terminal.svg`, `docs/watch.svg` and `docs/report.png`: what the network of `docs/start.md` looks like.

``python docs/pictures/screens.py`` runs the commands in a terminal, and takes a picture of the page that
`--save` writes with Chromium. It is run by hand, when what they show has changed.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 106, 40
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
HOME = "\x1b[H"


def on_a_terminal(*command: str, directory: str, then=None, seconds: float = 8.0) -> str:
    """What a command writes on a terminal in so many seconds; `then` is called when it has written a verdict."""
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(WIDTH)}
    process = subprocess.Popen(
        command, cwd=directory, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True
    )
    os.close(other)
    written, began = b"", time.monotonic()
    while time.monotonic() < began + seconds:
        if then and b"FAIL" in written:
            then()
            then, began = None, time.monotonic()
        if select.select([own], [], [], 0.1)[0]:
            try:
                written += os.read(own, 65536)
            except OSError:  # the command has ended
                break
    process.kill()
    process.wait()
    os.close(own)
    return written.decode("utf-8").replace("\r\n", "\n")


def save_svg(text: str, file: str, title: str) -> None:
    """Writes what a terminal shows as a picture, without fonts from elsewhere."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(text.strip("\n")))
    picture = console.export_svg(title=title, unique_id="terminal")
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.S)
    (DOCS / file).write_text(picture.replace("Fira Code, monospace", "monospace"), encoding="utf-8")


def last_screen(text: str) -> str:
    """The last whole screen of a command that updates one."""
    frames = [frame for frame in text.split(HOME) if "Ctrl-C" in frame]
    return re.sub(r"\x1b\[\?\d+[hl]", "", frames[-1])


def main() -> None:
    """Writes the pictures."""
    source = next(block for block in BLOCK.findall((DOCS / "start.md").read_text(encoding="utf-8")) if "X, y" in block)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "net.py"
        file.write_text(source, encoding="utf-8")
        checked = on_a_terminal("gradcheck-fast", "check", "net.py", directory=directory)
        save_svg(checked, "terminal.svg", "gradcheck-fast check net.py")

        def mend() -> None:
            wrong = 'a1.T @ dscores, "b2": dscores.sum'
            file.write_text(source.replace("(1 - a1)", "(1 - a1**2)").replace(wrong, f"2 * {wrong}"), encoding="utf-8")

        watched = on_a_terminal("gradcheck-fast", "watch", "net.py", directory=directory, then=mend)
        save_svg(last_screen(watched), "watch.svg", "gradcheck-fast watch net.py")
        file.write_text(source, encoding="utf-8")
        subprocess.run(["gradcheck-fast", "check", "net.py", "--save", "report.html"], cwd=directory, check=False)
        subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--hide-scrollbars", "--window-size=1000,1270",
             f"--screenshot={DOCS / 'report.png'}", f"file://{directory}/report.html"],
            check=True, capture_output=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
