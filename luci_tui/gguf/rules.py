"""The validator's rules: what each code stands for, why, and which advisories it answers.

`docs/validator.md` is written from this table; the rules themselves are in `native/src/gguf/`.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One row of the table."""

    code: str
    demands: str
    """What a file must fulfil."""
    reason: str
    answers: str = ""
    """Advisories and reports of attacks that the rule stops; "" = none known."""


RULES = (
    Rule("F01", "The path names a file.", "Nothing to read."),
    Rule("F02", "It is no folder.", "A folder holds models, it is none."),
    Rule("F03", "It is no device, pipe or socket.", "Reading one can block for ever."),
    Rule("F04", "Its links lead somewhere.", "A loop of links names nothing."),
    Rule("F05", "This user may read it.", "A half-read file proves nothing."),
    Rule("F06", "It stays the same while it is read.", "What was checked must be what is loaded."),
    Rule("F07", "The disk can read it.", "An I/O error is no verdict about the file."),
    Rule("S01", "24 bytes at least.", "The header alone has 24.", "CVE-2024-39720"),
    Rule("S02", "Starts with GGUF.", "Web pages and LFS pointers are the usual half-downloads."),
    Rule(
        "S03",
        "Version 2 or 3, little-endian.",
        "Version 1 has other lengths; readers that guess read out of bounds.",
        "CVE-2025-66959, CVE-2025-66960",
    ),
    Rule(
        "S04",
        "At most 65,536 values, and no more than fit.",
        "Counts times sizes wrap, and allocations follow counts.",
        "CVE-2024-23605, CVE-2024-25664",
    ),
    Rule(
        "S05",
        "At most 65,536 tensors, and no more than fit.",
        "Counts times sizes wrap, and allocations follow counts.",
        "CVE-2024-21836, CVE-2024-25666",
    ),
    Rule(
        "S06",
        "Keys have 1 to 65,535 bytes of text without control characters.",
        "An empty key aborts; a zero byte makes two readers see two keys.",
        "llama.cpp issue 24884",
    ),
    Rule("S07", "No key twice.", "Readers disagree about which of them counts."),
    Rule("S08", "Value types 0 to 12.", "An unknown type has no length.", "CVE-2024-8063"),
    Rule("S09", "Bools are 0 or 1.", "Anything else is undefined behaviour in C++."),
    Rule(
        "S10",
        "Strings fit into the file and under 64 MiB (items of arrays 64 KiB), without zero bytes.",
        "Lengths drive allocations and copies; control characters drive terminals.",
        "CVE-2024-23496, CVE-2024-25665, CVE-2025-49847, CVE-2025-52566",
    ),
    Rule(
        "S11",
        "Arrays hold one known type that is no array, and fit into the file.",
        "Lengths times sizes wrap; arrays in arrays exhaust the stack.",
        "CVE-2024-21825, CVE-2024-25667, GGUF-PY-F001",
    ),
    Rule(
        "S12",
        "The alignment is a u32, a power of two, 8 to 4,096.",
        "Zero divides by zero, 2^31 wraps the padding.",
        "CVE-2025-0317, oss-security 2026-05-15 V-01",
    ),
    Rule(
        "S13",
        "Tensor names have 1 to 63 bytes of text and are unique as C strings.",
        "Two names with a zero byte become one in ggml, behind its own check.",
    ),
    Rule("S14", "1 to 4 dimensions.", "More overflow a fixed array.", "CVE-2024-21802"),
    Rule("S15", "No dimension is 0.", "Zero rows divide by zero later."),
    Rule(
        "S16",
        "Values and bytes of a tensor stay below 2^63.",
        "Products wrap to small allocations.",
        "CVE-2026-33298, CVE-2024-25668",
    ),
    Rule("S17", "The tensor's type is known.", "An unknown type indexes out of tables."),
    Rule("S18", "Rows are whole blocks.", "Half blocks are read beyond their end."),
    Rule("S19", "Data offsets are aligned.", "Unaligned reads fault on some machines."),
    Rule(
        "S20",
        "Data follows in order, without gap or overlap.",
        "Overlapping tensors write over each other; gaps hide data.",
        "CVE-2025-53630, CVE-2026-27940",
    ),
    Rule(
        "S21",
        "Every tensor ends inside the file.",
        "Reading behind the end leaks memory or ends the process with SIGBUS.",
        "CVE-2026-7482, GO-2026-5748, CVE-2024-12055",
    ),
    Rule("S22", "Nothing follows the last tensor (warning).", "It may hide another file."),
    Rule("S23", "Padding is zero (warning).", "It may hide data."),
    Rule(
        "M01",
        "general.architecture is a plain name that this build knows (unknown: warning).",
        "Names go into messages, keys and paths.",
    ),
    Rule(
        "M02",
        "The sizes that the architecture needs are there, and possible in every layer.",
        "llama.cpp aborts the process on block_count 513 or when more of a head turns than it has.",
        "llama.cpp PR 25821 and 26051, CVE-2024-8063",
    ),
    Rule("M03", "Quantized files name the version (missing: warning).", "Formats changed."),
    Rule(
        "M04",
        "The vocabulary is 1 to 1,048,576 different strings, scores and types as many.",
        "Short arrays are read beyond their end; equal tokens abort the process.",
        "llama.cpp issues 24888, 25739, 24885, PR 26690",
    ),
    Rule(
        "M05",
        "Special tokens stand in the vocabulary.",
        "Their ids index arrays.",
        "llama.cpp PR 25475, mistral.rs 2225",
    ),
    Rule(
        "M06",
        "Byte tokens name bytes.",
        "<0x-1> writes before an array.",
        "llama.cpp PR 25969, 27226",
    ),
    Rule(
        "M07",
        "The embedding has a row for every token (more: warning).",
        "A missing row is read beyond the end.",
    ),
    Rule(
        "M08",
        "Blocks, widths and heads are those that the metadata says.",
        "Else the load fails, or the process.",
    ),
    Rule("M09", "Numbers in the metadata are finite and possible.", "NaN spreads to every answer."),
    Rule(
        "M10",
        "All shards are there, named, typed and counted right, and belong together.",
        "llama.cpp aborts on a split.no of another type.",
    ),
    Rule(
        "M11",
        "A projector's sizes are positive and fit together.",
        "clip.cpp divides by them and allocates from them.",
        "reports on MiniCPM-V and Qwen2-VL projectors",
    ),
    Rule(
        "M12",
        "Adapters, control vectors and importance matrices have matching pairs.",
        "An index from a tensor's name is multiplied unchecked.",
        "huntr reports on control vectors",
    ),
    Rule("T01", "Templates have at most 1 MiB.", "Larger ones exhaust parsers."),
    Rule("T02", "Templates parse, with bounded depth.", "Deep nesting exhausts the stack."),
    Rule(
        "T03",
        "Templates touch no inner attributes, load no files, and count no further than 100,000.",
        "A template is a program that somebody else wrote.",
        "CVE-2024-34359, CVE-2026-5760",
    ),
    Rule("D01", "No block holds NaN or infinity (--deep).", "One spoils every answer."),
    Rule("D02", "The SHA-256 is the one that was asked for (--sha256).", "One flipped bit."),
    Rule("D03", "No tensor repeats one block (--deep, warning).", "It was never written."),
)
"""Every code that the validator gives.

F: the path; S: structure; M: meaning; T: template; D: data.
"""

BY_CODE = {rule.code: rule for rule in RULES}
