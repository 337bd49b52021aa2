"""Good models with chat templates that attack whoever renders them, or that cannot be parsed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support import raw_gguf as raw
from tests.support.hostile.case import Case, rejected
from tests.support.raw_gguf import good_model

ATTACKS = {
    "class of a string": "{{ ''.__class__ }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ raise_exception.__globals__ }}",
    "class by subscript": "{{ messages['__class__'] }}",
    "class by filter": "{{ messages|attr('__class__') }}",
    "attr with a joined name": "{{ messages|attr(['_','_class'] | join) }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "cycler": "{{ cycler.__init__.__globals__ }}",
    "joiner": "{{ joiner('x') }}",
    "namespace": "{{ namespace.__init__ }}",
    "inner context": "{{ self._TemplateReference__context }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "from import": "{% from 'os' import path %}",
    "extends": "{% extends 'base.html' %}",
    "a long range": "{% for i in range(1000000000) %}x{% endfor %}",
    "a long range with a start": "{% for i in range(0, 99999999) %}x{% endfor %}",
    "a product in a range": "{% for i in range(9999 * 9999) %}x{% endfor %}",
    "a power in a range": "{% for i in range(9 ** 9) %}x{% endfor %}",
    "ranges in ranges": "{% for i in range(9999) %}" * 2 + "x" + "{% endfor %}" * 2,
    "a repeated string": "{{ 'x' * 1000000000 }}",
    "a repeated list": "{{ 1000000000 * [1] }}",
}
BROKEN = {
    "open expression": "{{ messages",
    "open statement": "{% if true ",
    "open comment": "{# nothing",
    "open string": "{{ 'abc }}",
    "open block": "{% for m in messages %}x",
    "end without a block": "{% endfor %}",
    "wrong end": "{% if true %}{% endfor %}",
    "elif without an if": "{% elif true %}",
    "wrong bracket": "{{ (1] }}",
    "closing bracket": "{{ 1) }}",
    "two operators": "{{ 1 + * 2 }}",
    "an empty expression": "{{ }}",
    "unknown statement": "{% fly away %}",
    "deep brackets": "{{ " + "(" * 65 + "1" + ")" * 65 + " }}",
    "very deep brackets": "{{ " + "[" * 100_000 + "]" * 100_000 + " }}",
    "deep blocks": "{% if 1 %}" * 100 + "{% endif %}" * 100,
    "many branches": "{% if 0 %}" + "{% elif 0 %}" * 300 + "{% endif %}",
    "many prefixes": "{{ " + "not " * 2000 + "1 }}",
    "many minus": "{{ " + "- " * 2000 + "1 }}",
    "a long sum": "{{ 1" + " + 1" * 20_000 + " }}",
    "a long chain": "{{ a" + ".b" * 20_000 + " }}",
}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    for name, template in ATTACKS.items():
        yield rejected(f"template: {name}", _with(template), "T03")
    for name, template in BROKEN.items():
        yield rejected(f"template: {name}", _with(template), "T02")
    yield rejected("template of 1 MiB and a byte", _with("x" * ((1 << 20) + 1)), "T01")
    named = good_model().with_entry(
        "tokenizer.chat_template.tool_use", raw.STRING, raw.text("{{ ''.__class__ }}")
    )
    yield rejected("a named template attacks", named.build(), "T03")


def _with(template: str) -> bytes:
    entry = ("tokenizer.chat_template", raw.STRING, raw.text(template))
    return good_model().with_entry(*entry).build()
