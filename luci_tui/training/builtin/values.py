"""Random argument values: endless open sets built from words, syllables and digits.

The values of the frozen test sets are never drawn; a separate source hands out only them, to
measure how well new values are copied.
"""

import re
from collections.abc import Callable
from functools import cache
from random import Random

import yaml

from luci_tui.training.builtin.contract import HOME

HELD_OUT_FILE = HOME / "eval" / "held_out_values.yaml"
_ONSETS = (
    *"bcdfghjklmnprstvwz",
    *("br", "ch", "cl", "dr", "fl", "gr", "kr", "pl", "pr", "qu", "sh", "sk", "sl", "sp", "st"),
    *("th", "tr"),
)
_VOWELS = (*"aeioaeiou", "ai", "ea", "ee", "io", "ou")
_CODAS = ("n", "r", "s", "l", "m", "t", "d", "k", "p", "x", "ck", "ng", "nd", "rt", "st", "sh")
_NO_CODA_SHARE = 0.45


@cache
def word_lists() -> dict[str, list[str]]:
    """Read `words.yaml`: lists split at spaces, or at `|` where a bar occurs."""
    raw = yaml.safe_load((HOME / "templates" / "words.yaml").read_text(encoding="utf-8"))
    lists: dict[str, list[str]] = {}
    for name, text in raw.items():
        parts = text.split("|") if "|" in text else text.split()
        kept = [part.strip() for part in parts if not is_excluded(part.strip())]
        lists[name] = kept
    return lists


@cache
def template_words() -> tuple[str, ...]:
    """Give the words of the templates themselves, which may be names of files as well.

    A model that sees them only as parts of sentences learns badly to copy them.
    """
    found: set[str] = set()
    for path in sorted((HOME / "templates").glob("*.yaml")):
        found.update(re.findall(r"[a-z]{3,12}", path.read_text(encoding="utf-8")))
    return tuple(word for word in sorted(found) if not is_excluded(word))


@cache
def held_out_values() -> dict[str, list[str]]:
    """Read the values of the frozen test sets, by kind."""
    raw = yaml.safe_load(HELD_OUT_FILE.read_text(encoding="utf-8"))
    return {kind: [str(value) for value in values] for kind, values in raw.items()}


@cache
def _excluded() -> frozenset[str]:
    return frozenset(text.lower() for values in held_out_values().values() for text in values)


def is_excluded(value: str) -> bool:
    """Say whether a value, the last part of its path or one of its words is held out."""
    low = value.lower()
    excluded = _excluded()
    return (
        low in excluded
        or low.rstrip("/").rsplit("/", 1)[-1] in excluded
        or any(word in excluded for word in low.split(" "))
    )


class Values:
    """Draws argument values.

    Args:
        rng: source of all choices.
        held_out: draw only the values of the frozen test sets, for the kinds that have some.
    """

    def __init__(self, rng: Random, *, held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out
        self._lists = word_lists()
        self._words = template_words()

    def chance(self, share: float) -> bool:
        """Say yes with this probability."""
        return self.rng.random() < share

    def pick(self, name: str) -> str:
        """Give one entry of a word list."""
        return self.rng.choice(self._lists[name])

    def draw(self, kind: str, make: Callable[[], str], ends: str = "") -> str:
        """Call `make` until its value is not held out, or draw a held-out value of `kind`.

        Args:
            kind: kind of the contract, such as `file`.
            make: gives a random value.
            ends: words separated by `|`, one of which a held-out value must contain.
        """
        if self.held_out and kind in held_out_values():
            fitting = [v for v in held_out_values()[kind] if any(e in v for e in ends.split("|"))]
            return self.rng.choice(fitting)
        value = make()
        while is_excluded(value):
            value = make()
        return value

    def syllables(self, low: int = 2, high: int = 3) -> str:
        """Give an invented word."""
        rng = self.rng
        parts: list[str] = []
        for _ in range(rng.randint(low, high)):
            coda = "" if rng.random() < _NO_CODA_SHARE else rng.choice(_CODAS)
            parts.append(rng.choice(_ONSETS) + rng.choice(_VOWELS) + coda)
        return "".join(parts)

    def word(self) -> str:
        """Give a word in lower case: a usual name, any word, a splice or an invented one."""
        kind = self.rng.random()
        if kind < 0.4:
            return self.pick("stems")
        if kind < 0.55:
            return self.rng.choice(self._words)
        if kind < 0.8:
            front, back = self.rng.choice(self._words), self.rng.choice(self._words)
            at = self.rng.randint(2, len(front))
            return front[:at] + back[self.rng.randint(0, len(back) - 2) :]
        return self.syllables()

    def digits(self, low: int, high: int) -> str:
        """Give a random number in digits."""
        return str(self.rng.randint(low, high))

    def stem(self) -> str:
        """Give a file name without its extension."""
        rng = self.rng
        kind = rng.random()
        word = self.word()
        if kind < 0.42:
            return word
        if kind < 0.62:
            return word + rng.choice("_-") + self.word()
        if kind < 0.72:
            return word + rng.choice(["", "_", "-", "_v", "-v"]) + self.digits(1, 99)
        if kind < 0.77:
            return word.capitalize() + self.word().capitalize()
        if kind < 0.82:
            return word.capitalize()
        if kind < 0.85:
            return word.upper()
        if kind < 0.91:
            date = f"{rng.randint(2015, 2027)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
            return rng.choice([f"{word}-{date}", f"{date}_{word}", f"{word}_{date[:4]}", date])
        if kind < 0.94:
            return f"{word}.{self.rng.choice(['final', 'v2', 'min', 'old', 'test', self.word()])}"
        if kind < 0.97:
            return f"{word}_{self.word()}_{self.word()}"
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(6))

    def ext(self) -> str:
        """Give a file extension in lower case."""
        if self.chance(0.9):
            return self.pick("extensions")
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(self.rng.choice(letters) for _ in range(self.rng.choice([2, 3, 3, 4])))

    def file_name(self, *, spaces: bool = False) -> str:
        """Give a file name without a directory."""
        kind = self.rng.random()
        if kind < 0.12:
            return self.pick("special_files")
        if spaces and kind < 0.16:
            return f"{self.word()} {self.word()}.{self.ext()}"
        if kind < 0.20:
            return self.stem()
        if kind < 0.22:
            return "." + self.word()
        return f"{self.stem()}.{self.ext()}"

    def file(self, *, spaces: bool = False) -> str:
        """Give a file name or the path of a file."""
        kind = self.rng.random()
        if kind < 0.72:
            return self.file_name(spaces=spaces)
        if kind < 0.79:
            return self.pick("file_paths")
        return f"{self.dir_plain()}/{self.file_name()}"

    def dir_name(self) -> str:
        """Give the name of a directory without a path."""
        kind = self.rng.random()
        if kind < 0.2:
            return self.pick("dirs")
        if kind < 0.7:
            return self.word()
        stem = self.stem()
        return stem if "." not in stem else self.word()

    def dir_plain(self) -> str:
        """Give a name or path of a directory that a file path can be built on."""
        kind = self.rng.random()
        if kind < 0.5:
            return self.dir_name()
        if kind < 0.65:
            return self.pick("dir_paths")
        if kind < 0.75:
            return f"{self.dir_name()}/{self.dir_name()}"
        root = self.rng.choice(
            [
                "~",
                "~",
                ".",
                "..",
                "/home/" + self.pick("users"),
                "/opt",
                "/srv",
                "/var",
                "/mnt",
                "/tmp",
            ]
        )
        return f"{root}/{self.dir_name()}"

    def dir(self, *, spaces: bool = False) -> str:
        """Give a name or path of a directory."""
        if spaces and self.chance(0.025):
            return f"{self.word()} {self.word()}"
        return self.dir_name() if self.chance(0.6) else self.dir_plain()

    def text(self, *, phrase: bool = True) -> str:
        """Give a word or phrase to search for; without `phrase` it has no space."""
        rng = self.rng
        kind = rng.random()
        if phrase and kind < 0.14:
            return self.pick("phrases")
        if phrase and kind < 0.24:
            return f"{self.word()} {self.word()}"
        if kind < 0.45:
            return self.pick("texts")
        if kind < 0.75:
            return rng.choice([str.lower, str.lower, str.capitalize, str.upper])(self.word())
        if kind < 0.85:
            return self.word() + "_" + self.word()
        if kind < 0.90:
            return self.word() + self.word().capitalize()
        if kind < 0.94:
            return self.word() + rng.choice(["-", "=", "@", ":", "()", "42"])
        return self.digits(1, 99999)

    def host(self) -> str:
        """Give a host name or an IPv4 address."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.25:
            return self.pick("hosts")
        if kind < 0.5:
            return ".".join(str(rng.randint(1, 254)) for _ in range(4))
        if kind < 0.8:
            name = self.word() + rng.choice(["", "", "-" + self.word(), self.digits(1, 9)])
            front = rng.choice(["", "", "", "www.", "mail.", "api.", "git."])
            return f"{front}{name}.{self.pick('tlds')}"
        return self.word() + rng.choice(
            ["", "-" + self.word(), self.digits(1, 20), "0" + self.digits(1, 9)]
        )

    def url(self, *, repository: bool = False) -> str:
        """Give the address of a file, or of a git repository."""
        rng = self.rng
        name = self.stem()
        if repository:
            site = rng.choice(
                ["github.com", "gitlab.com", "bitbucket.org", f"git.{self.word()}.org"]
            )
            path = f"{self.word()}/{name}"
            return rng.choice(
                [f"https://{site}/{path}.git", f"https://{site}/{path}", f"git@{site}:{path}.git"]
            )
        site = f"{rng.choice(['', '', 'www.', 'cdn.', 'files.'])}{self.word()}.{self.pick('tlds')}"
        middle = rng.choice(["", "", self.word() + "/", f"{self.word()}/{self.word()}/"])
        scheme = rng.choice(["https://", "https://", "https://", "http://", "ftp://"])
        return f"{scheme}{site}/{middle}{name}.{self.ext()}"

    def name_of(self, kind: str) -> str:
        """Give the name of a user, process, service, package, container or command."""
        if self.chance(0.6):
            return self.pick(kind)
        return self.word() + self.rng.choice(
            ["", "", "", "-" + self.word(), "d", self.digits(1, 9)]
        )

    def branch(self) -> str:
        """Give the name of a git branch."""
        rng = self.rng
        if self.chance(0.3):
            return self.pick("branches")
        front = rng.choice(
            ["", "", "", "feature/", "fix/", "bugfix/", "hotfix/", "release/", "user/"]
        )
        tail = rng.choice(
            [self.word(), f"{self.word()}-{self.word()}", f"{self.word()}-{self.digits(1, 999)}"]
        )
        return front + tail if self.chance(0.92) else f"v{self.digits(1, 9)}.{self.digits(0, 20)}"

    def message(self) -> str:
        """Give a commit message without quotes in it."""
        rng = self.rng
        text = f"{self.pick('message_verbs')} {self.pick('message_objects')}"
        kind = rng.random()
        if kind < 0.4:
            text = f"{self.pick('message_verbs')} {self.word()} {self.word()}"
        elif kind < 0.55:
            text += f" {rng.choice(['in', 'for', 'and', 'to'])} {self.word()}"
        elif kind < 0.62:
            text = rng.choice(["wip", "initial commit", "first version", "cleanup", self.word()])
        elif kind < 0.68:
            text = f"{rng.choice(['fix', 'feat', 'docs', 'chore'])}: {self.word()} {self.word()}"
        return text

    def archive(self, family: str) -> str:
        """Give the file name of a `tar` or `zip` archive."""
        ends = (
            [".zip"]
            if family == "zip"
            else [".tar.gz", ".tar.gz", ".tgz", ".tar", ".tar.xz", ".tar.bz2"]
        )
        name = self.stem() + self.rng.choice(ends)
        return name if self.chance(0.85) else f"{self.dir_plain()}/{name}"

    def env_name(self) -> str:
        """Give the name of an environment variable."""
        if self.chance(0.4):
            return self.pick("env_names")
        return self.word().upper() + self.rng.choice(
            ["", "_" + self.word().upper(), "_HOME", "_KEY", "_URL"]
        )
