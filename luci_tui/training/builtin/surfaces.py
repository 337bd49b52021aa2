"""How an argument is said in a request: the wording around a value, and the value itself."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from luci_tui.training.builtin.values import Values

Part = tuple[str, bool]
"""Text and whether it is protected from typos and changes of case."""

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
_TENS = {30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 80: "eighty", 90: "ninety", 100: "a hundred", 25: "twenty five"}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_HOME_PHRASES = ["my home directory", "my home folder", "the home directory", "my home", "home", "my home dir"]
_PARENT_PHRASES = [
    "the parent directory", "the parent folder", "one level up", "the directory above", "the folder above this one",
    "the parent dir", "the directory one level up",
]  # fmt: skip
_UP_PHRASES = [
    "up one level", "one level up", "up a level", "one directory up", "up one directory", "up a folder", "one folder up", "up",
    "up to the parent directory", "back to the parent folder", "to the parent directory", "back up one level",
    "one folder back", "back one folder", "up by one level", "a level up", "out of this folder", "out of this directory",
]  # fmt: skip
_GO_HOME_PHRASES = [
    "home", "to my home directory", "back home", "to the home folder", "to my home folder", "to home", "to my home",
    "back to my home directory", "to the home directory",
]  # fmt: skip
_HERE_PHRASES = [
    "here", "here", "in here", "in this folder", "in this directory", "in the current directory", "in the current folder",
    "in the working directory", "in this dir", "in the directory I am in", "in the folder I'm in", "right here",
    "in my current directory", "in this place", "from here", "in cwd", "inside this folder", "in the present directory",
    "under the current directory", "where I am now",
]  # fmt: skip
_PREPOSITIONS = ["in", "in", "in", "in", "in", "inside", "under", "within", "inside of", "from", "below"]
_COMMON_NUMBERS = [1, 2, 3, 4, 5, 5, 6, 7, 8, 10, 10, 10, 12, 15, 20, 20, 25, 30, 40, 50, 50, 60, 80, 100, 100, 200, 500]


@dataclass(frozen=True)
class Said:
    """One argument as it stands in the request, and its value in the command."""

    parts: list[Part]
    value: str


def _plain(value: str, front: str = "", back: str = "") -> Said:
    parts: list[Part] = [(front, False)] if front else []
    parts.append((value, True))
    if back:
        parts.append((back, False))
    return Said(parts, value)


def _named(rng: Random, value: str, noun: str, *, article: bool = True) -> Said:
    """Say a name with or without quotes and with or without its noun."""
    shown = value
    if " " in value or rng.random() < 0.06:
        quote = rng.choice(['"', "'", '"', "`"])
        shown = f"{quote}{value}{quote}"
    kind = rng.random()
    front, back = "", ""
    if article and kind < 0.40:
        front, back = rng.choice(
            [
                (f"the {noun} ", ""), ("the ", f" {noun}"), (f"{noun} ", ""), (f"my {noun} ", ""), ("my ", f" {noun}"),
                (f"the {noun} called ", ""), (f"the {noun} named ", ""), ("my ", ""), ("that ", f" {noun}"), ("", f" {noun}"),
                ("this ", f" {noun}"), (f"a {noun} called ", ""), ("the ", ""), ("the ", f" {noun}"), (f"the {noun} ", ""),
            ]
        )  # fmt: skip
    said = _plain(shown, front, back)
    return Said(said.parts, value)


class Surfaces:
    """Draws arguments of all kinds together with a way to say them."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.rng = values.rng
        self._kinds: dict[str, Callable[[str, bool], Said]] = {
            "file": self._file, "dir": self._dir, "path": self._path, "ext": self._ext, "text": self._text,
            "number": self._number, "size": self._size, "days": self._days, "port": self._port, "user": self._user,
            "host": self._host, "url": self._url, "pid": self._pid, "branch": self._branch, "message": self._message,
            "archive": self._archive, "env_name": self._env_name, "mode": self._mode,
            "word": self._word, "gibberish": self._gibberish,
        }  # fmt: skip

    def say(self, kind: str, style: str, *, spaces: bool) -> Said:
        """Draw a value of `kind` and say it in `style` (empty = the usual one)."""
        make = self._kinds.get(kind)
        return make(style, spaces) if make else self._program(kind, style)

    def here(self) -> str:
        """Say that the current directory is meant."""
        return self.rng.choice(_HERE_PHRASES)

    def _file(self, style: str, spaces: bool) -> Said:
        if style == "name":
            value = self.values.draw("file", lambda: self.values.file_name(spaces=spaces))
            return _named(self.rng, value, "file", article=False)
        value = self.values.draw("file", lambda: self.values.file(spaces=spaces))
        if not style and "/" not in value and self.rng.random() < 0.035:
            place = self.rng.choice(_HOME_PHRASES[:3])
            joint = self.rng.choice([" in ", " from ", " inside "])
            return Said([(value, True), (joint + place, False)], f"~/{value}")
        return _named(self.rng, value, self.rng.choice(["file", "file", "file", "document", "text file"]), article=not style)

    def _dir(self, style: str, spaces: bool) -> Said:
        rng = self.rng
        if style in {"up", "home"} and not self.values.held_out:
            return Said([(rng.choice(_UP_PHRASES if style == "up" else _GO_HOME_PHRASES), False)], ".." if style == "up" else "~")
        front = ""
        if style == "in":
            front = rng.choice(_PREPOSITIONS) + " "
        elif style == "to":
            front = rng.choice(["into", "to", "to", "into", "in"]) + " "
        if style != "bare" and rng.random() < 0.13:
            return self._spoken_dir(front)
        value = self.values.draw("dir", lambda: self.values.dir(spaces=spaces))
        noun = rng.choice(["folder", "directory", "folder", "directory", "dir", "subfolder", "path"])
        said = _named(rng, value, noun, article=style != "bare")
        if style != "bare" and rng.random() < 0.06 and " " not in value and said.parts[-1] == (value, True):
            said = Said([*said.parts[:-1], (value + "/", True)], value)
        return Said([(front, False), *said.parts], said.value) if front else said

    def _spoken_dir(self, front: str) -> Said:
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            return Said([(front + rng.choice(_HOME_PHRASES[:5] if front else _HOME_PHRASES[:4]), False)], "~")
        if kind < 0.62:
            return Said([(front + rng.choice(_PARENT_PHRASES), False)], "..")
        if kind < 0.68:
            place = rng.choice(["the root of the file system", "the root of the filesystem", "the file system root"])
            return Said([(front + place, False)], "/")
        name = self.values.draw("dir", self.values.dir_name)
        home = rng.choice(_HOME_PHRASES[:3])
        noun = rng.choice(["", " folder", " directory"])
        parts = [(front + rng.choice(["the ", "", "my "]), False), (name, True), (f"{noun} in {home}", False)]
        return Said(parts, f"~/{name}")

    def _path(self, style: str, spaces: bool) -> Said:
        return self._file(style, spaces) if self.rng.random() < 0.55 else self._dir(style, spaces)

    def _ext(self, style: str, spaces: bool) -> Said:
        del spaces
        rng = self.rng
        value = self.values.draw("ext", self.values.ext)
        if style == "bare":
            return Said([(rng.choice([value, f".{value}", f"*.{value}", value, f".{value}", value.upper(), f'"{value}"']), True)], value)
        kind = rng.random()
        noun = rng.choice([" files", " files", " files", " file", " documents", " files"])
        if kind < 0.13 and value[-1] not in "sz0123456789" and "." not in value:
            return Said([(rng.choice([value.upper() + "s", value + "s", value.upper() + "s"]), True)], value)
        if kind < 0.2:
            return Said([("files with the extension ", False), (rng.choice([value, "." + value]), True)], value)
        if kind < 0.25:
            return Said([("files ending in ", False), (rng.choice([value, "." + value]), True)], value)
        if kind < 0.30:
            return Said([(f"*.{value}", True), (rng.choice(["", " files"]), False)], value)
        shown = rng.choice([value, value, "." + value, value.upper()])
        return Said([(shown, True), (noun, False)], value)

    def _text(self, style: str, spaces: bool) -> Said:
        rng = self.rng
        quoted = style != "bare" and rng.random() < 0.45
        phrase = spaces and (quoted or rng.random() < 0.2)
        value = self.values.draw("text", lambda: self.values.text(phrase=phrase))
        quote = rng.choice(['"', '"', "'", "'", "`"]) if quoted else ""
        shown = f"{quote}{value}{quote}"
        if style or rng.random() < 0.75:
            return Said([(shown, True)], value)
        noun = rng.choice(["word", "text", "string", "term", "phrase", "pattern", "expression"])
        return Said([(f"the {noun} ", False), (shown, True)], value)

    def _number(self, style: str, spaces: bool) -> Said:
        del spaces
        rng = self.rng
        if style == "ord":
            number = rng.choice([*range(1, 13), 1, 2, 2, 3, 3, 4, 5])
            endings = {1: "st", 2: "nd", 3: "rd"}
            shown = rng.choice([_ORDINALS[number - 1], f"{number}{endings.get(number, 'th')}"])
            return Said([(shown, False) if shown.isalpha() else (shown, True)], str(number))
        number = rng.choice(_COMMON_NUMBERS) if rng.random() < 0.5 else rng.randint(1, 300)
        if style == "line":
            return _plain(str(rng.randint(1, 900)))
        if style == "col":
            number = rng.randint(1, 14)
        if rng.random() < 0.3:
            if number <= 20:
                return Said([(_ONES[number], False)], str(number))
            if number in _TENS:
                return Said([(_TENS[number].removeprefix("a "), False)], str(number))
        return _plain(str(number))

    def _size(self, style: str, spaces: bool) -> Said:
        del style, spaces
        rng = self.rng
        number = rng.choice([1, 1, 2, 5, 10, 20, 50, 100, 100, 200, 250, 300, 500, 700, rng.randint(1, 999)])
        unit = rng.choice("kMMMMGGG")
        if unit == "G":
            number = rng.choice([1, 1, 2, 3, 4, 5, 10, 20, 50, rng.randint(1, 100)])
        names = {
            "k": ["k", "K", "KB", "kB", "kb", "kilobytes", "kilobyte", "KiB"],
            "M": ["M", "MB", "MB", "mb", "megabytes", "megs", "meg", "MiB", "m", "megabyte"],
            "G": ["G", "GB", "GB", "gb", "gigabytes", "gigs", "gig", "GiB", "g", "gigabyte"],
        }
        name = rng.choice(names[unit])
        value = f"{number}{unit}"
        if number == 1 and len(name) > 2:
            word = name.rstrip("s")
            return Said([(rng.choice(["a ", "one ", "1 "]) + word, False)], value)
        shown = str(number)
        if number <= 20 and len(name) > 2 and rng.random() < 0.3:
            shown = _ONES[number]
        elif number in _TENS and len(name) > 2 and rng.random() < 0.3:
            shown = _TENS[number]
        gap = " " if len(name) > 2 else rng.choice(["", "", " "])
        return Said([(shown + gap + name, not shown.isalpha())], value)

    def _days(self, style: str, spaces: bool) -> Said:
        """Say a time; style `last` follows the words "last" or "past", the usual one does not."""
        del spaces
        rng = self.rng
        number, per, unit = rng.choice(
            [(0, 1, "day"), (0, 1, "day"), (0, 1, "day"), (0, 7, "week"), (0, 7, "week"), (0, 30, "month"), (1, 365, "year"), (24, 0, "hour")]
        )
        if per == 0:
            number = rng.choice([24, 24, 48, 72])
            return Said([(f"{number} {rng.choice(['hours', 'hours', 'hrs'])}", False)], str(number // 24))
        if unit == "day":
            number = rng.choice([1, 1, 2, 3, 3, 4, 5, 6, 7, 10, 14, 20, 30, 45, 60, 90, 100, rng.randint(1, 400)])
        elif number == 0:
            number = rng.choice([1, 1, 1, 1, 2, 2, 3, 4, 6])
        value = str(number * per)
        if number == 1:
            alone = ["", "", "1 ", "one "] if style == "last" else ["a ", "a ", "one ", "1 "]
            return Said([(rng.choice(alone) + unit, False)], value)
        shown = _ONES[number] if number <= 20 and rng.random() < 0.4 else str(number)
        return Said([(f"{shown} {unit}s", False)], value)

    def _port(self, style: str, spaces: bool) -> Said:
        del style, spaces
        common = ["80", "443", "8080", "3000", "5432", "22", "8000", "3306", "6379", "5000", "9000", "8443", "53", "25"]
        make = lambda: self.rng.choice(common) if self.rng.random() < 0.4 else self.values.digits(20, 65535)  # noqa: E731
        return _plain(self.values.draw("port", make))

    def _pid(self, style: str, spaces: bool) -> Said:
        del style, spaces
        return _plain(self.values.draw("pid", lambda: self.values.digits(100, self.rng.choice([999, 9999, 32767, 99999]))))

    def _user(self, style: str, spaces: bool) -> Said:
        del spaces
        value = self.values.draw("user", lambda: self.values.name_of("users"))
        front = self.rng.choice(["", "", "", "the user ", "user "]) if not style else ""
        return _plain(value, front)

    def _host(self, style: str, spaces: bool) -> Said:
        del spaces
        value = self.values.draw("host", self.values.host)
        front = self.rng.choice(["", "", "", "", "the host ", "the server ", "the machine ", "host ", "server ", "my server "]) if not style else ""
        return _plain(value, front)

    def _url(self, style: str, spaces: bool) -> Said:
        del spaces
        value = self.values.draw("url", lambda: self.values.url(repository=style == "git"), "git" if style == "git" else ".zip|.pdf|.json|.gz")
        return _plain(value, self.rng.choice(["", "", "", "", "", "the url ", "the address "]) if not style else "")

    def _branch(self, style: str, spaces: bool) -> Said:
        del spaces
        value = self.values.draw("branch", self.values.branch)
        return _named(self.rng, value, "branch", article=not style)

    def _message(self, style: str, spaces: bool) -> Said:
        del spaces
        value = self.values.draw("message", self.values.message)
        quote = self.rng.choice(['"', '"', "'"]) if style == "quoted" or self.rng.random() < 0.6 else ""
        return Said([(f"{quote}{value}{quote}", True)], value)

    def _archive(self, style: str, spaces: bool) -> Said:
        del spaces
        family = style.split("_")[0]
        value = self.values.draw("archive", lambda: self.values.archive(family), ".zip" if family == "zip" else ".t")
        noun = self.rng.choice(["archive", "archive", "file", "tarball" if family == "tar" else "zip file"])
        return _named(self.rng, value, noun, article="_" not in style)

    def _env_name(self, style: str, spaces: bool) -> Said:
        del style, spaces
        value = self.values.draw("env_name", self.values.env_name)
        return _plain(value) if self.rng.random() < 0.9 else Said([(f"${value}", True)], value)

    def _mode(self, style: str, spaces: bool) -> Said:
        del style, spaces
        common = ["755", "644", "600", "700", "777", "640", "750", "664", "400", "775", "0644", "444", "1777", "660"]
        make = lambda: self.rng.choice(common) if self.rng.random() < 0.6 else "".join(self.rng.choice("01234567") for _ in range(self.rng.choice([3, 3, 3, 4])))  # noqa: E731
        return _plain(self.values.draw("mode", make))

    def _word(self, style: str, spaces: bool) -> Said:
        """Say any word; only requests that are declined use it."""
        del style, spaces
        return _plain(self.values.word())

    def _gibberish(self, style: str, spaces: bool) -> Said:
        """Give letters without sense; only requests that are declined use it."""
        del style, spaces
        rng = self.rng
        kind = rng.random()
        letters = "asdfghjklqwertzuiopyxcvbnm" if kind < 0.5 else "asdfjkl"
        words = ["".join(rng.choice(letters) for _ in range(rng.randint(2, 9))) for _ in range(rng.randint(1, 4))]
        if kind > 0.8:
            words = [self.values.syllables() for _ in range(rng.randint(1, 5))]
        if kind > 0.93:
            words = ["".join(rng.choice("!?.,;:#+*%&=<>/0123456789 ") for _ in range(rng.randint(1, 9)))]
        return Said([(" ".join(words), rng.random() < 0.5)], "")

    def _program(self, kind: str, style: str) -> Said:
        """Say the name of a process, service, package, container or command."""
        lists = {
            "process": "processes", "service": "services", "package": "packages", "command_name": "commands",
            "container": "containers", "python_package": "python_packages",
        }  # fmt: skip
        del style
        value = self.values.draw("package" if kind == "python_package" else kind, lambda: self.values.name_of(lists[kind]))
        return _plain(value)
