import re
import shlex
from itertools import islice

import pytest

from luci_tui.chat.doubt import doubtful_arguments
from luci_tui.training.builtin.contract import load_contract
from luci_tui.training.builtin.generator import DECLINE, Generator, load_templates
from luci_tui.training.builtin.grammar import expand, parse, parse_banks
from luci_tui.training.builtin.overlap import is_frozen, normalise
from luci_tui.training.builtin.values import held_out_values, is_excluded

N_SAMPLES = 4000


@pytest.fixture(scope="module")
def samples():
    return list(islice(Generator(5), N_SAMPLES))


def in_scope(samples):
    return [sample for sample in samples if sample.intent != DECLINE]


def test_contract_with_its_file_has_forms_for_every_intent():
    contract = load_contract()
    assert len(contract.intents) == 100
    assert all(intent.forms for intent in contract.intents.values())
    assert contract.decline_sentence.startswith("I can't do that yet.")


def test_templates_with_the_contract_cover_every_intent_broadly():
    templates = load_templates()
    assert set(templates) == {*load_contract().intents, DECLINE}
    assert min(len(lines) for lines in templates.values()) >= 12


def test_templates_with_every_line_fill_a_form_of_their_intent():
    contract = load_contract()
    generator = Generator(3)
    for intent_id, lines in load_templates().items():
        for line in lines if intent_id != DECLINE else ():
            intent = contract.intents[intent_id]
            _, values, command = generator.fill(intent, line)
            assert command == intent.form_for(frozenset(values)).fill(values)


def test_samples_with_a_command_equal_a_form_of_their_intent(samples):
    contract = load_contract()
    for sample in in_scope(samples):
        intent = contract.intents[sample.intent]
        filled = [
            form.fill(sample.values) for form in intent.forms if form.slots == set(sample.values)
        ]
        assert filled == [sample.command]


def test_samples_with_a_command_reach_every_form():
    contract = load_contract()
    wanted = {form.text for intent in contract.intents.values() for form in intent.forms}
    seen = set()
    for sample in islice(Generator(9), 30_000):
        if sample.intent != DECLINE:
            intent = contract.intents[sample.intent]
            seen.add(intent.form_for(frozenset(sample.values)).text)
    assert seen == wanted


def test_samples_with_arguments_have_each_in_the_request(samples):
    typo_free = [sample for sample in in_scope(samples) if sample.values]
    doubtful = [s for s in typo_free if doubtful_arguments(s.request, s.command)]
    assert len(doubtful) <= len(typo_free) * 0.02, doubtful[:5]


def test_samples_with_names_hold_them_letter_by_letter(samples):
    for sample in in_scope(samples):
        for slot, value in sample.values.items():
            kind = load_contract().intents[sample.intent].slots[slot]
            if kind in {"text", "user", "host", "url", "branch", "message", "archive", "package"}:
                assert value in sample.request


def test_samples_with_commands_split_like_a_shell_would(samples):
    for sample in in_scope(samples):
        assert shlex.split(sample.command)


def test_samples_never_use_a_held_out_value(samples):
    for sample in in_scope(samples):
        assert not [value for value in sample.values.values() if is_excluded(value)]


def test_samples_with_held_out_values_use_only_them_for_their_kinds():
    held = held_out_values()
    generator = Generator(4, held_out_values=True, only=("show_file", "kill_name", "git_clone"))
    for sample in islice(generator, 300):
        for slot, value in sample.values.items():
            kind = load_contract().intents[sample.intent].slots[slot]
            assert value in held[kind] or value.removeprefix("~/") in held[kind]


def test_samples_out_of_scope_are_exactly_the_decline_sentence(samples):
    declined = [sample for sample in samples if sample.intent == DECLINE]
    assert 0.18 < len(declined) / len(samples) < 0.28
    assert {sample.command for sample in declined} == {load_contract().decline_sentence}


def test_samples_are_requests_of_one_clean_line(samples):
    for sample in samples:
        assert sample.request == sample.request.strip()
        assert not re.search(r"[\n\t{}@]\w*\}", sample.request)
        assert "{" not in sample.request or "_" not in sample.request.split("{")[1]


def test_generator_with_the_same_seed_gives_the_same_samples():
    assert list(islice(Generator(8), 200)) == list(islice(Generator(8), 200))


def test_generator_with_another_seed_gives_other_samples():
    assert list(islice(Generator(8), 50)) != list(islice(Generator(9), 50))


def test_generator_with_dev_draws_only_lines_kept_out_of_training():
    training = {sample.template for sample in islice(Generator(1), 3000)}
    dev = {sample.template for sample in islice(Generator(1, dev=True), 1000)}
    assert not training & dev


def test_generator_with_reject_drops_what_it_names():
    kept = islice(Generator(2, reject=lambda request: "please" in request), 500)
    assert not [sample for sample in kept if "please" in sample.request]


def test_frozen_requests_are_recognised_after_normalisation():
    assert normalise("  Show  `A.txt`, please! ") == "show a txt please"
    assert not is_frozen("a sentence that no test set has, surely not this one")


def test_grammar_with_alternations_banks_and_slots_expands_them():
    from random import Random

    banks = parse_banks({"see": "look\nwatch"})
    tree = parse("@see (at|) {file:bare}[ now]", banks)
    texts = {
        "".join(part if isinstance(part, str) else f"<{part.name}:{part.style}>" for part in out)
        for out in (expand(tree, Random(seed)) for seed in range(60))
    }
    assert texts == {
        f"{verb} {middle} <file:bare>{end}"
        for verb in ("look", "watch")
        for middle in ("at", "")
        for end in ("", " now")
    }


@pytest.mark.parametrize("line", ["(a|b", "a)", "@nobody here", "{broken"])
def test_grammar_with_a_broken_line_names_it(line):
    with pytest.raises(ValueError, match=re.escape(line)):
        parse(line, {})
