"""The endless, seeded source of training samples: a request and the command it asks for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from zlib import crc32

import yaml

from luci_tui.training.builtin.contract import HOME, Contract, Intent, load_contract
from luci_tui.training.builtin.grammar import Banks, Sequence, SlotRef, expand, parse, parse_banks
from luci_tui.training.builtin.noise import dress
from luci_tui.training.builtin.said import Part, Said
from luci_tui.training.builtin.surfaces import Surfaces
from luci_tui.training.builtin.values import Values

TEMPLATES = HOME / "templates"
DECLINE = "decline"
"""Name of the pseudo-intent of all requests that are out of scope."""

MOODS = ("do", "np", "ask", "say")
"""Imperative phrase, noun phrase to be shown, question, and anything said as it stands."""

_DECLINE_SHARE = 0.23
_ARG_FREE_WEIGHT = 0.7
"""Intents without arguments are easier, so they are drawn less often."""


@dataclass(frozen=True)
class Template:
    """One line of the template files."""

    intent: str
    mood: str
    text: str
    tree: Sequence

    @property
    def is_dev(self) -> bool:
        """Say whether the line is kept out of training, to measure on."""
        return crc32(self.text.encode()) % 25 == 0


@dataclass(frozen=True)
class Sample:
    """One request with the answer that is wanted."""

    request: str
    command: str
    intent: str
    """Id of the intent, or `decline`."""
    values: dict[str, str]
    """Slot name -> value in the command; empty for a decline."""
    template: str


@cache
def load_banks() -> Banks:
    """Read the shared banks of synonyms and frames."""
    return parse_banks(yaml.safe_load((TEMPLATES / "banks.yaml").read_text(encoding="utf-8")))


@cache
def load_templates() -> dict[str, tuple[Template, ...]]:
    """Read all template files: intent id (or `decline`) -> its lines."""
    found: dict[str, list[Template]] = {}
    for path in sorted(TEMPLATES.glob("*.yaml")):
        if path.stem in {"banks", "words", "phrases"}:
            continue
        for intent, moods in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            for mood, lines in moods.items():
                if mood not in MOODS:
                    raise ValueError(f"{path.name}: {intent} has an unknown mood {mood!r}")
                for line in filter(None, map(str.strip, lines.split("\n"))):
                    tree = parse(line, load_banks())
                    found.setdefault(intent, []).append(Template(intent, mood, line, tree))
    return {intent: tuple(lines) for intent, lines in found.items()}


class Generator:
    """Makes samples without end; the same seed gives the same samples.

    Args:
        seed: start of the random source.
        held_out_values: fill in the values of the frozen test sets, which training never does.
        dev: draw from the template lines kept out of training instead of the others.
        only: intents to draw from, all where it is empty.
        reject: requests for which this is true are dropped.
    """

    def __init__(
        self,
        seed: int,
        *,
        held_out_values: bool = False,
        dev: bool = False,
        only: tuple[str, ...] = (),
        reject: Callable[[str], bool] | None = None,
    ) -> None:
        self._rng = Random(seed)
        self._surfaces = Surfaces(Values(self._rng, held_out=held_out_values))
        self._contract: Contract = load_contract()
        self._reject = reject
        self._templates: dict[str, tuple[Template, ...]] = {}
        for intent, lines in load_templates().items():
            kept = tuple(line for line in lines if line.is_dev == dev)
            if kept and (not only or intent in only):
                self._templates[intent] = kept
        self._intents = [intent for intent in self._templates if intent != DECLINE]
        slots = self._contract.intents
        self._weights = [1.0 if slots[i].slots else _ARG_FREE_WEIGHT for i in self._intents]

    def __iter__(self) -> Iterator[Sample]:
        """Give samples without end."""
        while True:
            sample = self.sample()
            if self._reject is None or not self._reject(sample.request):
                yield sample

    def sample(self) -> Sample:
        """Give one sample."""
        declines = DECLINE in self._templates
        if not self._intents or (declines and self._rng.random() < _DECLINE_SHARE):
            return self._decline()
        intent = self._rng.choices(self._intents, self._weights)[0]
        template = self._rng.choice(self._templates[intent])
        parts, values, form_text = self.fill(self._contract.intents[intent], template)
        request = dress(parts, template.mood, self._rng, load_banks())
        return Sample(request, form_text, intent, values, template.text)

    def fill(
        self, intent: Intent, template: Template
    ) -> tuple[list[list[Part]], dict[str, str], str]:
        """Expand a template and its slots; gives groups of parts, the values and the command."""
        nodes = self._places(expand(template.tree, self._rng), intent)
        refs = [node for node in nodes if isinstance(node, SlotRef)]
        form = intent.form_for(frozenset(ref.name for ref in refs))
        groups: list[list[Part]] = []
        values: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, str):
                groups.append([(node, False)])
                continue
            said = self._say(intent, node, spaces=form.takes_spaces(node.name), taken=values)
            values[node.name] = said.value
            groups.append(list(said.parts))
        return groups, values, form.fill(values)

    def _say(self, intent: Intent, ref: SlotRef, *, spaces: bool, taken: dict[str, str]) -> Said:
        """Draw an argument that is not yet in `taken`."""
        while True:
            said = self._surfaces.say(_kind(intent, ref), _style(intent, ref), spaces=spaces)
            if said.value not in taken.values():
                return said

    def _places(self, nodes: list[str | SlotRef], intent: Intent) -> list[str | SlotRef]:
        """Turn `{in}` and `{here}` into a directory slot, a word for "here" or nothing."""
        out: list[str | SlotRef] = []
        for node in nodes:
            if isinstance(node, str) or node.name not in {"in", "here"}:
                out.append(node)
                continue
            chance = self._rng.random()
            if node.name == "in" and chance < 0.5:
                name = "dir" if "dir" in intent.slots else "path"
                out.append(SlotRef(name, "in"))
            elif chance < 0.72:
                out.append(self._surfaces.here())
        return out

    def _decline(self) -> Sample:
        template = self._rng.choice(self._templates[DECLINE])
        groups: list[list[Part]] = []
        for node in expand(template.tree, self._rng):
            if isinstance(node, str):
                groups.append([(node, False)])
            elif node.name.startswith("any_"):
                groups.extend(self._any(node.name.removeprefix("any_")))
            elif node.name == "in":
                groups.append(list(self._surfaces.say("dir", "in", spaces=False).parts))
            else:
                style = node.style or ("tar" if node.name == "archive" else "")
                groups.append(list(self._surfaces.say(node.name, style, spaces=False).parts))
        request = dress(groups, template.mood, self._rng, load_banks())
        return Sample(request, self._contract.decline_sentence, DECLINE, {}, template.text)

    def _any(self, what: str) -> list[list[Part]]:
        """Give the words of a random request that is in scope: a mood, or `command`."""
        while True:
            intent_id = self._rng.choice(self._intents)
            lines = [t for t in self._templates[intent_id] if what in {"command", t.mood}]
            if not lines:
                continue
            intent = self._contract.intents[intent_id]
            groups, _, command = self.fill(intent, self._rng.choice(lines))
            return [[(command, True)]] if what == "command" else groups


def _kind(intent: Intent, ref: SlotRef) -> str:
    if intent.id == "pip_install":
        return "python_package"
    return intent.slots[ref.name]


def _style(intent: Intent, ref: SlotRef) -> str:
    kind = intent.slots[ref.name]
    if kind == "archive":
        family = "zip" if intent.id in {"zip_create", "unzip"} else "tar"
        return f"{family}_{ref.style}" if ref.style else family
    if kind == "url" and intent.id == "git_clone":
        return "git"
    return ref.style
