"""How an argument is said in a request: the wording around a value, and the value itself."""

from collections.abc import Callable

from luci_tui.training.builtin.quantities import say_days, say_number, say_size
from luci_tui.training.builtin.said import Said, named, phrases, plain, spoken
from luci_tui.training.builtin.values import Values

_PROGRAM_LISTS = {
    "process": "processes",
    "service": "services",
    "package": "packages",
    "python_package": "python_packages",
    "command_name": "commands",
    "container": "containers",
}


class Surfaces:
    """Draws arguments of all kinds together with a way to say them."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.rng = values.rng
        self._kinds: dict[str, Callable[[str, bool], Said]] = {
            "file": self._file,
            "dir": self._dir,
            "path": self._path,
            "ext": lambda style, _: self._ext(style),
            "text": self._text,
            "number": lambda style, _: say_number(self.rng, style),
            "size": lambda *_: say_size(self.rng),
            "days": lambda style, _: say_days(self.rng, style),
            "port": lambda *_: self._number_of("port", "ports", 20, 65535),
            "pid": lambda *_: self._number_of("pid", "", 100, 99999),
            "user": lambda style, _: self._user(style),
            "host": lambda style, _: self._host(style),
            "url": lambda style, _: self._url(style),
            "branch": lambda style, _: self._branch(style),
            "message": lambda style, _: self._message(style),
            "archive": lambda style, _: self._archive(style),
            "env_name": lambda *_: self._env_name(),
            "mode": lambda *_: self._mode(),
            "word": lambda *_: plain(self.values.word()),
            "gibberish": lambda *_: self._gibberish(),
        }

    def say(self, kind: str, style: str, *, spaces: bool) -> Said:
        """Draw a value of `kind` and say it in `style` (empty = the usual one).

        Args:
            kind: a kind of the contract, or `python_package`, `word`, `gibberish`.
            style: asked for by a template, such as `bare` for a name without its noun.
            spaces: the value may contain a space.
        """
        make = self._kinds.get(kind)
        return make(style, spaces) if make else self._program(kind)

    def here(self) -> str:
        """Say that the current directory is meant."""
        return self.rng.choice(phrases()["here"])

    def _phrase(self, name: str) -> str:
        return self.rng.choice(phrases()[name])

    def _file(self, style: str, spaces: bool) -> Said:
        if style == "name":
            value = self.values.draw("file", lambda: self.values.file_name(spaces=spaces))
            return named(self.rng, value, "file", article=False)
        value = self.values.draw("file", lambda: self.values.file(spaces=spaces))
        if not style and "/" not in value and self.rng.random() < 0.035:
            joint = self.rng.choice([" in ", " from ", " inside "])
            place = joint + self._phrase("home_of_name")
            return Said([(value, True), (place, False)], f"~/{value}")
        return named(self.rng, value, self._phrase("file_noun"), article=not style)

    def _dir(self, style: str, spaces: bool) -> Said:
        rng = self.rng
        if style in {"up", "home"}:
            return spoken(self._phrase(f"go_{style}"), ".." if style == "up" else "~")
        front = self._phrase(style) + " " if style in {"in", "to"} else ""
        if style != "bare" and rng.random() < 0.13:
            return self._spoken_dir(front)
        value = self.values.draw("dir", lambda: self.values.dir(spaces=spaces))
        said = named(rng, value, self._phrase("dir_noun"), article=style != "bare")
        parts = said.parts
        if style != "bare" and rng.random() < 0.06 and parts[-1] == (value, True):
            parts = [*parts[:-1], (value + "/", True)]
        return Said([(front, False), *parts], value) if front else Said(parts, value)

    def _spoken_dir(self, front: str) -> Said:
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            return spoken(front + self._phrase("home" if front else "home_of_name"), "~")
        if kind < 0.62:
            return spoken(front + self._phrase("parent"), "..")
        if kind < 0.68:
            return spoken(front + self._phrase("root"), "/")
        name = self.values.draw("dir", self.values.dir_name)
        noun = rng.choice(["", " folder", " directory"])
        place = f"{noun} in {self._phrase('home_of_name')}"
        article = front + rng.choice(["the ", "", "my "])
        return Said([(article, False), (name, True), (place, False)], f"~/{name}")

    def _path(self, style: str, spaces: bool) -> Said:
        return self._file(style, spaces) if self.rng.random() < 0.55 else self._dir(style, spaces)

    def _ext(self, style: str) -> Said:
        rng = self.rng
        ext = self.values.draw("ext", self.values.ext)
        dotted = rng.choice([ext, f".{ext}"])
        if style == "bare":
            shown = rng.choice([dotted, dotted, f"*.{ext}", ext.upper(), f'"{ext}"'])
            return Said([(shown, True)], ext)
        kind = rng.random()
        if kind < 0.13 and ext[-1] not in "sz0123456789" and "." not in ext:
            return Said([(rng.choice([ext.upper(), ext, ext.upper()]) + "s", True)], ext)
        if kind < 0.25:
            front = rng.choice(["files with the extension ", "files ending in "])
            return (
                plain(dotted, front)
                if dotted == ext
                else Said([(front, False), (dotted, True)], ext)
            )
        if kind < 0.30:
            return Said([(f"*.{ext}", True), (rng.choice(["", " files"]), False)], ext)
        noun = rng.choice([" files", " files", " files", " file", " documents", " files"])
        return Said([(rng.choice([ext, dotted, ext.upper()]), True), (noun, False)], ext)

    def _text(self, style: str, spaces: bool) -> Said:
        rng = self.rng
        is_quoted = style != "bare" and rng.random() < 0.45
        may_have_spaces = spaces and (is_quoted or rng.random() < 0.2)
        value = self.values.draw("text", lambda: self.values.text(phrase=may_have_spaces))
        quote = rng.choice(['"', '"', "'", "'", "`"]) if is_quoted else ""
        parts = [(f"{quote}{value}{quote}", True)]
        if style or rng.random() < 0.75:
            return Said(parts, value)
        return Said([(f"the {self._phrase('text_noun')} ", False), *parts], value)

    def _number_of(self, kind: str, common: str, low: int, high: int) -> Said:
        """Say a number of any length between `low` and `high`."""
        if common and self.rng.random() < 0.4:
            return plain(self._phrase(common))
        high = self.rng.choice([high, high, 9999, 999])
        return plain(self.values.draw(kind, lambda: self.values.digits(low, high)))

    def _user(self, style: str) -> Said:
        value = self.values.draw("user", lambda: self.values.name_of("users"))
        front = "" if style else self.rng.choice(["", "", "", "the user ", "user "])
        return plain(value, front)

    def _host(self, style: str) -> Said:
        value = self.values.draw("host", self.values.host)
        return plain(value, "" if style else self._phrase("host_front"))

    def _url(self, style: str) -> Said:
        is_git = style == "git"
        ends = "git" if is_git else ".zip|.pdf|.json|.gz"
        value = self.values.draw("url", lambda: self.values.url(repository=is_git), ends)
        front = "" if style else self.rng.choice(["", "", "", "", "the url ", "the address "])
        return plain(value, front)

    def _branch(self, style: str) -> Said:
        value = self.values.draw("branch", self.values.branch)
        return named(self.rng, value, "branch", article=not style)

    def _message(self, style: str) -> Said:
        value = self.values.draw("message", self.values.message)
        is_quoted = style == "quoted" or self.rng.random() < 0.6
        quote = self.rng.choice(['"', '"', "'"]) if is_quoted else ""
        return Said([(f"{quote}{value}{quote}", True)], value)

    def _archive(self, style: str) -> Said:
        family, _, rest = style.partition("_")
        ends = ".zip" if family == "zip" else ".t"
        value = self.values.draw("archive", lambda: self.values.archive(family), ends)
        noun = self.rng.choice(["archive", "file", "zip file" if family == "zip" else "tarball"])
        return named(self.rng, value, noun, article=not rest)

    def _env_name(self) -> Said:
        value = self.values.draw("env_name", self.values.env_name)
        return Said([(f"${value}" if self.rng.random() < 0.1 else value, True)], value)

    def _mode(self) -> Said:
        if self.rng.random() < 0.6:
            return plain(self._phrase("modes"))
        n_digits = self.rng.choice([3, 3, 3, 4])
        return plain("".join(self.rng.choice("01234567") for _ in range(n_digits)))

    def _gibberish(self) -> Said:
        """Give letters without sense; only requests that are declined use it."""
        rng = self.rng
        kind = rng.random()
        if kind > 0.93:
            marks = (rng.choice("!?.,;:#+*%&=<>/0123456789 ") for _ in range(rng.randint(1, 9)))
            return Said([("".join(marks), True)], "")
        if kind > 0.8:
            words = [self.values.syllables() for _ in range(rng.randint(1, 5))]
        else:
            letters = "asdfghjklqwertzuiopyxcvbnm" if kind < 0.5 else "asdfjkl"
            words = [
                "".join(rng.choice(letters) for _ in range(rng.randint(2, 9)))
                for _ in range(rng.randint(1, 4))
            ]
        return Said([(" ".join(words), rng.random() < 0.5)], "")

    def _program(self, kind: str) -> Said:
        """Say the name of a process, service, package, container or command."""
        held_out_kind = "package" if kind == "python_package" else kind
        names = _PROGRAM_LISTS[kind]
        return plain(self.values.draw(held_out_kind, lambda: self.values.name_of(names)))
