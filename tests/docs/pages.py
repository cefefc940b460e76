"""The pages of the documentation: their fenced blocks, command lines, anchors and links."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
CONTROL_OPERATORS = {"&&", "||", ";", "|"}


def fenced_blocks(text, *languages):
    """Return the contents of the fenced blocks in one of the languages."""
    return [content for language, content in FENCE.findall(text) if language in languages]


def without_blocks(text):
    return FENCE.sub("", text)


def split_commands(line):
    """Split a line of a shell block into commands, each a list of words."""
    commands = [[]]
    for word in shlex.split(line, comments=True):
        if word in CONTROL_OPERATORS:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def shell_commands(text):
    """Return the commands of all shell blocks of a page; in console blocks, they follow a dollar sign."""
    lines = []
    for language, content in FENCE.findall(text):
        block = content.replace("\\\n", " ").splitlines()
        if language == "bash":
            lines += block
        elif language == "console":
            lines += [line[2:] for line in block if line.startswith("$ ")]
    return [command for line in lines for command in split_commands(line)]


def inline_code(text):
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def headings(text):
    return re.findall(r"^#{1,6} (.+)$", without_blocks(text), flags=re.MULTILINE)


def anchor(heading):
    """Return the anchor that GitHub gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")


def links(text):
    """Return the targets of the links and images of a page, without those to other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_blocks(text))
    return [target for target in targets if "://" not in target]
