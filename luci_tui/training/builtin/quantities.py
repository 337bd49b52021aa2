"""How numbers, sizes and times are said, in digits and in words."""

from random import Random

from luci_tui.training.builtin.said import Said, phrases, plain, spoken


def _in_words(number: int) -> str | None:
    ones = [word for row in phrases()["numbers"] for word in row]
    return ones[number] if number < len(ones) else phrases()["tens"].get(number)


def say_number(rng: Random, style: str) -> Said:
    """Say a number; style `ord` gives an ordinal, `line` a line number, `col` a small one."""
    if style == "ord":
        number = rng.choice([*range(1, 13), 1, 2, 2, 3, 3, 4, 5])
        if rng.random() < 0.5:
            return spoken(phrases()["ordinals"][number - 1], str(number))
        ending = {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
        return Said([(f"{number}{ending}", True)], str(number))
    if style == "line":
        return plain(str(rng.randint(1, 900)))
    number = rng.choice(phrases()["common_numbers"]) if rng.random() < 0.5 else rng.randint(1, 300)
    if style == "col":
        number = rng.randint(1, 14)
    word = _in_words(number) if rng.random() < 0.3 else None
    return spoken(word, str(number)) if word else plain(str(number))


def say_size(rng: Random) -> Said:
    """Say a size such as "10 MB", "a gigabyte" or "500k"."""
    unit = rng.choice("kMMMMGGG")
    if unit == "G":
        number = rng.choice([*phrases()["common_gigabytes"], rng.randint(1, 100)])
    else:
        number = rng.choice([*phrases()["common_sizes"], rng.randint(1, 999)])
    name: str = rng.choice(phrases()["size_units"][unit])
    value = f"{number}{unit}"
    is_word = len(name) > 2 and name[-1].islower()
    if number == 1 and is_word:
        return spoken(rng.choice(["a ", "one ", "1 "]) + name.rstrip("s"), value)
    word = _in_words(number) if is_word and rng.random() < 0.3 else None
    gap = " " if len(name) > 2 else rng.choice(["", "", " "])
    return Said([(f"{word or number}{gap}{name}", True)], value)


def say_days(rng: Random, style: str) -> Said:
    """Say a time.

    Args:
        rng: source of all choices.
        style: `last` follows the words "last" or "past", `today` needs no other word; the usual
            style says a length of time, such as "a week".
    """
    if style == "today":
        text, days = rng.choice(phrases()["today"])
        return spoken(text, str(days))
    unit = rng.choice(["day", "day", "day", "week", "week", "month", "year", "hour"])
    if unit == "hour":
        hours = rng.choice([24, 24, 48, 72])
        return spoken(f"{hours} {rng.choice(['hours', 'hours', 'hrs'])}", str(hours // 24))
    if unit == "day":
        number = rng.choice([*phrases()["common_days"], rng.randint(1, 400)])
    else:
        number = 1 if unit == "year" else rng.choice([1, 1, 1, 1, 2, 2, 3, 4, 6])
    value = str(number * {"day": 1, "week": 7, "month": 30, "year": 365}[unit])
    if number == 1:
        fronts = ["", "", "1 ", "one "] if style == "last" else ["a ", "a ", "one ", "1 "]
        return spoken(rng.choice(fronts) + unit, value)
    word = _in_words(number) if number <= 20 and rng.random() < 0.4 else None
    return spoken(f"{word or number} {unit}s", value)
