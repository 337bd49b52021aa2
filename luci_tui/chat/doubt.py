"""Which arguments of a proposed command cannot be found in the request it answers.

The built-in model copies its arguments from the request. A small model sometimes damages a long
name or takes the wrong word, and the damage is easy to see: the argument is not in the request.
"""

import re
import shlex

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
)
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80}
_OTHERS = {"ninety": 90, "hundred": 100, "twenty five": 25, "twenty-five": 25, "a": 1, "an": 1}
_NUMBER_WORDS: dict[str, int] = {
    **{word: number for number, word in enumerate(_ONES.split())},
    **{word: number for number, word in enumerate(_ORDINALS.split(), start=1)},
    **_TENS,
    **_OTHERS,
}
_UNIT_DAYS = {"day": 1, "week": 7, "fortnight": 14, "month": 30, "year": 365}
_DAY_WORDS = {"today": "1", "last day": "1", "week": "7", "month": "30", "year": "365"}
_SIZE = re.compile(r"\+?(\d+)([kMG])")
_SIZE_UNITS = {
    "k": r"k(?:i?b|ilobytes?)?",
    "M": r"m(?:i?b|egs?|egabytes?)?",
    "G": r"g(?:i?b|igs?|igabytes?)?",
}
_NAME_ENDS = {"cp": (".bak",), "tar": (".tar.gz",), "zip": (".zip",)}
"""Endings that a command adds to a copied name."""

_PIPES = {"|", "||", "&&", ";", ">", ">>", "<", "2>", "&"}
_HOME_WORDS = re.compile(r"\bhome\b|~")
_PARENT_WORDS = re.compile(r"\bparent\b|\bup\b|\babove\b|\bback\b|\bout of\b|\.\.")
_FLAG_WITH_VALUE = re.compile(r"-f?\d+")
"""`-mtime -7` and `cut -f3`: what looks like a flag holds a number of the request."""

_SED_REPLACE = re.compile(r"s/([^/]*)/([^/]*)/g?")
_SED_RANGE = re.compile(r"(\d+),(\d+)p")
_FIXED: dict[str, frozenset[str]] = {
    program: frozenset(words.split())
    for program, words in {
        "apt": "install",
        "cat": "/etc/os-release",
        "chmod": "+x",
        "docker": "ps logs",
        "find": "f",
        "git": "status log diff branch checkout merge add commit push pull clone restore",
        "|head": "10",
        "ip": "addr",
        "ping": "4",
        "pip": "install",
        "ps": "aux",
        "python3": "venv",
        "systemctl": "status start stop restart",
    }.items()
}
"""Words of the canonical commands that are no arguments, by the program they belong to.

A program behind a pipe has `|` before its name.
"""


def doubtful_arguments(request: str, command: str) -> tuple[str, ...]:
    """Give the arguments of `command` that do not stand in `request`.

    The changes that the command contract allows are no doubt: dropped quotes, number words, units
    of size and time, extensions without their dot, `~` for the home directory, `..` for the
    parent directory and `.` for here.

    Args:
        request: what the user wrote.
        command: a proposed shell command.

    Returns:
        The doubtful arguments in their order; empty = every argument was found. A command that
        cannot be split, such as one with an open quote, is doubtful as a whole.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return (command,)
    low = request.lower()
    doubtful: list[str] = []
    program = ""
    expects_program = True
    for word in words:
        if word in _PIPES:
            expects_program = True
        elif word == "sudo":
            continue
        elif expects_program:
            program = f"|{word}" if program else word
            expects_program = False
        elif not _is_fixed(program, word):
            doubtful += [
                part for part in _parts(program, word) if not _stands_in(program, part, low)
            ]
    return tuple(dict.fromkeys(doubtful))


def _is_fixed(program: str, word: str) -> bool:
    if word in _FIXED.get(program, ()) or word in {".", "/"}:
        return True
    return word.startswith("-") and not _FLAG_WITH_VALUE.fullmatch(word)


def _parts(program: str, word: str) -> list[str]:
    """Split a word of the command into the values that were copied into it."""
    if program == "sed":
        found = _SED_REPLACE.fullmatch(word) or _SED_RANGE.fullmatch(word)
        return list(found.groups()) if found else [word]
    if program in {"ssh", "scp"} and "@" in word:
        user, _, rest = word.partition("@")
        host, _, path = rest.partition(":")
        return [part for part in (user, host, path) if part]
    if program == "cut":
        return [word.removeprefix("-f")]
    if program == "find":
        return [word.strip("*").removeprefix(".") if word.startswith("*") else word]
    return [word.removeprefix(":")] if program == "lsof" else [word]


def _stands_in(program: str, value: str, low: str) -> bool:
    for end in _NAME_ENDS.get(program, ()):
        stem = value.removesuffix(end)
        if stem != value and _stands_in("", stem, low):
            return True
    value = value.lower()
    if _is_whole(value, low) or (program == "find" and _is_whole(value + "s", low)):
        return True
    if value.startswith("~/"):
        return bool(_HOME_WORDS.search(low)) and value[2:] in low
    if value == "~":
        return bool(_HOME_WORDS.search(low))
    if value == "..":
        return bool(_PARENT_WORDS.search(low))
    return _number_stands_in(value, low)


def _is_whole(value: str, low: str) -> bool:
    """Say whether a value stands in the request as a whole name and not as a piece of one."""
    front = r"(?<!\w)(?<!\w[/-])" if value[:1].isalnum() else ""
    back = r"(?!\w|[./-]\w)" if value[-1:].isalnum() else ""
    return re.search(front + re.escape(value) + back, low) is not None


def _number_stands_in(value: str, low: str) -> bool:
    size = _SIZE.fullmatch(value.upper().replace("K", "k"))
    if size:
        unit = _SIZE_UNITS[size[2]]
        return any(re.search(rf"\b{n}[\s-]*{unit}\b", low) for n in _spellings(size[1]))
    digits = value.lstrip("+-")
    if not digits.isdigit():
        return False
    if any(re.search(rf"\b{n}\b", low) for n in _spellings(digits)):
        return True
    if any(days == digits and re.search(rf"\b{word}\b", low) for word, days in _DAY_WORDS.items()):
        return True
    return _days_stand_in(int(digits), low)


def _days_stand_in(days: int, low: str) -> bool:
    for unit, length in _UNIT_DAYS.items():
        if days % length == 0:
            spellings = _spellings(str(days // length))
            if any(re.search(rf"\b{n}\s+{unit}s?\b", low) for n in spellings):
                return True
    return any(re.search(rf"\b{n}\s*(?:h|hrs?|hours?)\b", low) for n in _spellings(str(days * 24)))


def _spellings(digits: str) -> list[str]:
    return [digits, *(word for word, number in _NUMBER_WORDS.items() if str(number) == digits)]
