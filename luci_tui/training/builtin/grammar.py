"""The template language: alternations, optional parts, banks of synonyms and slots.

(a|b|c)        one of the alternatives; an empty one leaves the place empty
[x]            x or nothing
@name          one line of the bank `name`
{slot}         an argument; {slot:style} asks for one way to say it
"""

import re
from dataclasses import dataclass
from random import Random

_TOKEN = re.compile(r"\{(\w+)(?::(\w+))?\}|@(\w+)|@(?=\{)|[()\[\]|]|[^(){}\[\]|@]+")


@dataclass(frozen=True)
class SlotRef:
    """A place for an argument in an expanded template."""

    name: str
    style: str
    """Empty for the usual style of the kind."""


@dataclass(frozen=True)
class Choice:
    """One of several sequences."""

    options: tuple[tuple["Node", ...], ...]


Node = str | SlotRef | Choice
Sequence = tuple[Node, ...]
Banks = dict[str, Choice]


class _Parser:
    def __init__(self, text: str, banks: Banks) -> None:
        self._text = text
        self._tokens = list(_TOKEN.finditer(text))
        if "".join(token[0] for token in self._tokens) != text:
            raise ValueError(f"a template has a stray character: {text!r}")
        self._at = 0
        self._banks = banks

    def parse(self) -> Sequence:
        options = self._options(closers="")
        return options[0] if len(options) == 1 else (Choice(options),)

    def _options(self, closers: str) -> tuple[Sequence, ...]:
        options: list[Sequence] = []
        current: list[Node] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            mark = token[0]
            if mark == "|":
                options.append(tuple(current))
                current = []
            elif mark in {")", "]"}:
                if mark != closers:
                    raise ValueError(f"a template has a {mark!r} too many: {self._text!r}")
                return (*options, tuple(current))
            else:
                current.append(self._node(token))
        if closers:
            raise ValueError(f"a template lacks a {closers!r}: {self._text!r}")
        return (*options, tuple(current))

    def _node(self, token: re.Match[str]) -> Node:
        if token[0] == "(":
            return Choice(self._options(")"))
        if token[0] == "[":
            return Choice((*self._options("]"), ()))
        if token[1]:
            return SlotRef(token[1], token[2] or "")
        if token[3]:
            if token[3] not in self._banks:
                raise ValueError(f"a template names no bank {token[3]!r}: {self._text!r}")
            return self._banks[token[3]]
        return token[0]


def parse(text: str, banks: Banks) -> Sequence:
    """Turn a template line into a tree.

    Raises:
        ValueError: the brackets do not match, or a bank is not known.
    """
    return _Parser(text, banks).parse()


def parse_banks(raw: dict[str, str]) -> Banks:
    """Turn `{name: lines}` into banks; a bank may use the banks before it."""
    banks: Banks = {}
    for name, lines in raw.items():
        options = tuple(parse(line, banks) for line in lines.strip("\n").split("\n"))
        banks[name] = Choice(options)
    return banks


def expand(nodes: Sequence, rng: Random) -> list[str | SlotRef]:
    """Choose one alternative everywhere; gives literals and slots in order."""
    out: list[str | SlotRef] = []
    for node in nodes:
        if isinstance(node, Choice):
            out.extend(expand(node.options[int(rng.random() * len(node.options))], rng))
        else:
            out.append(node)
    return out
