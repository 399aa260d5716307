"""Text of others in one line, on any terminal."""

from __future__ import annotations

import io

import pytest

from pu_unet_monai.printable import printable, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller 漢.png", "Müller 漢.png"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("gnp.\u202etxt", "gnp.\\u202etxt"),
        ("M\udcfcller.txt", "M\\udcfcller.txt"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "ü 漢 \\udcfc\n"), ("latin-1", "ü \\u6f22 \\udcfc\n"), ("ascii", "\\xfc \\u6f22 \\udcfc\n")],
)
def test_what_a_terminal_has_no_letters_for_is_escaped(monkeypatch, encoding, shown):
    terminal = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(terminal, encoding=encoding, errors="strict"))
    say("ü 漢 \udcfc")
    assert terminal.getvalue().decode(encoding) == shown
