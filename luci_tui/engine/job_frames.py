"""The messages between luci and a job process: one specification in, events out.

A job is one piece of long native work on files: validate, quantize and the like. It runs in a
process of its own, so that nothing in a file and nothing in native code can take luci with it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from luci_tui.engine.frames import MemoryUse
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.gguf.findings import FileReport
from luci_tui.gguf.weights import Repacking


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ValidateSpec(_Data):
    """Check files against the rules of `luci_tui.gguf.rules`."""

    kind: Literal["validate"] = "validate"
    paths: tuple[str, ...]
    deep: bool = False
    """Also read every tensor block and look for NaN and infinity."""
    sha256: str = ""
    """What the hash of the (single) file has to be, in hexadecimal; "" = not asked for."""


class TensorStatsSpec(_Data):
    """Count over all values of one tensor."""

    kind: Literal["tensor_stats"] = "tensor_stats"
    path: str
    name: str


class CompareSpec(_Data):
    """Measure what quantization cost, tensor by tensor."""

    kind: Literal["compare"] = "compare"
    source: str
    quantized: str


class PlanMemorySpec(_Data):
    """Let llama.cpp work out what a load would allocate, without reading a weight.

    It answers as if the file were read and not mapped.
    """

    kind: Literal["plan_memory"] = "plan_memory"
    load: LoadSpec


class CoreFactsSpec(_Data):
    """Ask what this build of the core computes on, and what it does with weights."""

    kind: Literal["core_facts"] = "core_facts"


class QuantizeOutput(_Data):
    """One file that is wanted."""

    type: str
    """Name of a quant type, any case."""
    path: str
    """The final name; with `keep_split` the shards are named after it."""


class QuantizeSpec(_Data):
    """Make smaller or other files from one model; the source is only read."""

    kind: Literal["quantize"] = "quantize"
    source: str
    """A GGUF file, or the first shard of a split model."""
    outputs: tuple[QuantizeOutput, ...] = Field(min_length=1)
    imatrix: str = ""
    """Path of an importance matrix as the person wrote it: it is noted in the file. "" = none."""
    tensor_types: tuple[tuple[str, str], ...] = ()
    """(regular expression, tensor type) for single tensors; the first that matches counts."""
    output_type: str = ""
    """Tensor type of output.weight; "" = as the type says."""
    embedding_type: str = ""
    """Tensor type of token_embd.weight; "" = as the type says."""
    pure: bool = False
    """Every tensor in the type's own, without the usual mixture."""
    leave_output: bool = False
    """output.weight stays as it is."""
    allow_requantize: bool = False
    """Also convert tensors that are quantized already."""
    keep_split: bool = False
    """Write as many shards as the source has."""
    n_threads: int = Field(default=0, ge=0, le=1024)
    """0 = one per CPU that this process may use."""
    dry_run: bool = False
    """Say how large the files would be and write none."""
    force: bool = False
    """Replace files that are there."""
    keep_finished: bool = False
    """An output that is there, whole and newer than what it is made of, is kept as it is."""
    imatrix_text: str = ""
    """Path of a text from which an importance matrix is made first; excludes `imatrix`."""


class ImatrixSpec(_Data):
    """Make an importance matrix for a model from a text."""

    kind: Literal["imatrix"] = "imatrix"
    model: str
    text: str
    """Path of the text."""
    output: str
    n_ctx: int = Field(default=512, ge=16, le=1_048_576)
    """Tokens of a chunk."""
    n_chunks: int = Field(default=0, ge=0)
    """Most chunks to use; 0 = the whole text."""
    n_threads: int = Field(default=0, ge=0, le=1024)
    """0 = one per physical core."""
    force: bool = False
    """Replace a file that is there."""


class TextScoreSpec(_Data):
    """Measure how well a model foretells a text, how fast it is and what memory it takes."""

    kind: Literal["score_text"] = "score_text"
    model: str
    text: str
    """Path of the text."""
    n_ctx: int = Field(default=512, ge=16, le=1_048_576)
    """Tokens of a chunk; its second half is what counts."""
    n_chunks: int = Field(default=0, ge=0)
    """Most chunks to use; 0 = the whole text."""
    n_threads: int = Field(default=0, ge=0, le=1024)
    """0 = one per physical core."""
    write_base: str = ""
    """File for this model's predictions, with which others are then compared; "" = none."""
    read_base: str = ""
    """File of the base's predictions; "" = compare with nothing."""
    n_prompt: int = Field(default=128, ge=0, le=65_536)
    """Tokens of the speed test's prompt; 0 with n_gen 0 = no speed test."""
    n_gen: int = Field(default=16, ge=0, le=65_536)
    """Tokens that the speed test decodes."""


class RunConverterSpec(_Data):
    """Run one of llama.cpp's own converters in the job process, without network or foreign code."""

    kind: Literal["run_converter"] = "run_converter"
    tree: str
    """Folder of the converters, see `luci_tui.engine.converter_tree`."""
    script: str
    """Name of the script in it."""
    arguments: tuple[str, ...]
    source: str
    """Folder of the model, for what its tokenizer says; "" = it has none."""


class SourceReferenceSpec(_Data):
    """Let transformers tokenize strings and compute a few predictions with the source model."""

    kind: Literal["source_reference"] = "source_reference"
    source: str
    strings: tuple[str, ...]
    output: str
    """The folder for reference.json and reference.npz; it must exist."""
    max_bytes: int = Field(ge=0)
    """The model's predictions are only computed where its weights as 32-bit floats are smaller."""


class ConversionCheckSpec(_Data):
    """Compare a converted model with what its source said."""

    kind: Literal["check_conversion"] = "check_conversion"
    model: str
    reference: str
    """The folder that a SourceReferenceSpec has filled."""


JobSpec = Annotated[
    ValidateSpec
    | TensorStatsSpec
    | CompareSpec
    | PlanMemorySpec
    | CoreFactsSpec
    | QuantizeSpec
    | ImatrixSpec
    | TextScoreSpec
    | RunConverterSpec
    | SourceReferenceSpec
    | ConversionCheckSpec,
    Field(discriminator="kind"),
]
job_spec_adapter: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


class JobProgress(_Data):
    """How far a job is; comes about ten times a second."""

    kind: Literal["progress"] = "progress"
    what: str
    """The file or tensor that is being worked on."""
    n_done: int
    n_total: int
    """0 = not known."""
    unit: Literal["bytes", "tensors", "chunks", "values", "strings", "steps"] = "bytes"
    bytes_done: int = 0
    """Bytes of the source that are worked through, where `unit` is another one."""
    bytes_total: int = 0
    """0 = not known."""


class ValidateResult(_Data):
    """One report per file, in the order they were asked for."""

    kind: Literal["validated"] = "validated"
    reports: tuple[FileReport, ...]


class TensorStatsResult(_Data):
    """What one tensor holds; figures are over its finite values, None = it has none."""

    kind: Literal["tensor_stats_done"] = "tensor_stats_done"
    name: str
    shape: tuple[int, ...]
    """As GGUF has it: the first is the length of a row."""
    type_name: str
    size_bytes: int
    n_values: int
    n_nan: int
    n_inf: int
    share_zeros: float
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    rms: float | None
    first: tuple[float | None, ...]
    """The first few values; None = NaN or infinite."""


class TensorError(_Data):
    """How far a quantized tensor is from its source; None = a value is NaN or infinite."""

    name: str
    source_type: str
    type_name: str
    n_values: int
    size_bytes: int
    rmse: float | None
    """Root of the mean squared difference."""
    relative_rmse: float | None
    """RMSE over the root mean square of the source."""
    cosine: float | None
    largest_error: float | None


class CompareResult(_Data):
    """Every tensor that both models have in the same shape, in the order of the quantized file."""

    kind: Literal["compared"] = "compared"
    source: str
    quantized: str
    tensors: tuple[TensorError, ...]
    whole: TensorError
    """Over all values together."""
    skipped: tuple[str, ...]
    """Names that only one model has, or in another shape."""


class MemoryPlanned(_Data):
    """What llama.cpp says that a load would take."""

    kind: Literal["memory_planned"] = "memory_planned"
    memory: MemoryUse


class Device(_Data):
    """One thing that the build can compute on, at this moment; see `native.DeviceInfo`."""

    name: str
    description: str
    kind: str
    """cpu, gpu, igpu or accel."""
    total_bytes: int
    free_bytes: int


class CoreFacts(_Data):
    """What the build computes on, and what it does with weights."""

    kind: Literal["core_facts_found"] = "core_facts_found"
    accelerator: str = "cpu"
    """cpu, cuda, metal, vulkan or hip."""
    devices: tuple[Device, ...] = ()
    repacking: Repacking = ()
    """Which weights it rearranges on this machine; see `luci_tui.gguf.weights`."""

    @property
    def free_vram_bytes(self) -> tuple[int, ...]:
        """Free bytes of each GPU that has memory of its own; Metal's and an igpu's is the RAM."""
        if self.accelerator == "metal":
            return ()
        return tuple(max(0, one.free_bytes) for one in self.devices if one.kind == "gpu")


class FallbackTensor(_Data):
    """A tensor whose rows the wanted type does not fit."""

    name: str
    wanted_type: str
    type: str


class QuantizedFile(_Data):
    """One output, written or planned."""

    type: str
    path: str
    """Of the first file."""
    paths: tuple[str, ...]
    """All of its shards; one unless `keep_split`."""
    size_bytes: int
    """Of all shards, headers included."""
    bits_per_weight: float
    """Bits of the tensors' data per weight."""
    seconds: float
    """Time of quantizing and writing, without reading the plan and syncing; 0 after a dry run."""
    n_tensors: int
    n_by_type: dict[str, int]
    """How many tensors have each type."""
    fallbacks: tuple[FallbackTensor, ...] = ()
    needs_imatrix: bool = False
    """After a dry run without an imatrix: the work itself will need one."""
    was_kept: bool = False
    """It was there already and was not made again."""


class QuantizeResult(_Data):
    """What was made, in the order it was asked for."""

    kind: Literal["quantized"] = "quantized"
    source: str
    source_bytes: int
    """Of all shards of the source."""
    n_params: int
    dry_run: bool
    files: tuple[QuantizedFile, ...]
    imatrix: str = ""
    """Path of the importance matrix that was used; "" = none."""


class ImatrixResult(_Data):
    """The importance matrix that was made."""

    kind: Literal["imatrix_made"] = "imatrix_made"
    path: str
    size_bytes: int
    n_chunks: int
    n_ctx: int
    n_entries: int
    """Weights that have data."""
    n_partial_entries: int
    """Of these, weights with an expert that the text did not reach."""
    seconds: float


class TextScored(_Data):
    """What was measured of one model; None = that does not apply to it or was not asked for."""

    kind: Literal["text_scored"] = "text_scored"
    model: str
    architecture: str
    size_bytes: int
    """Of the file, or of all its shards."""
    n_params: int
    bits_per_weight: float
    """Bits of the tensors' data per weight."""
    file_type: str
    """The quant type that the file names; "" = it names none."""
    n_ctx: int
    n_chunks: int
    n_scored: int
    """Tokens, or of an embedding model texts, that were looked at."""
    perplexity: float | None = None
    perplexity_error: float | None = None
    """One standard error."""
    mean_kld: float | None = None
    """Divergence of the base's predictions from this model's, nats per token."""
    kld_error: float | None = None
    top_agreement: float | None = None
    """0 to 1: how often both think the same token the likeliest."""
    embedding_distance: float | None = None
    """1 - cosine to the base's embedding, mean over the texts; of embedding models."""
    is_other_vocabulary: bool = False
    """The base has other tokens for this text, so nothing was compared with it."""
    score_s: float = 0.0
    prefill_rate: float | None = None
    """Tokens per second."""
    decode_rate: float | None = None
    memory: MemoryUse | None = None
    """With a context of n_ctx tokens."""
    note: str = ""
    """What could not be measured, as one sentence."""


class ConverterDone(_Data):
    """The converter has written its file."""

    kind: Literal["converter_done"] = "converter_done"
    notes: tuple[str, ...] = ()
    """Sentences for a person."""


class SourceReferenceMade(_Data):
    """What transformers could say."""

    kind: Literal["source_reference_made"] = "source_reference_made"
    n_strings: int
    """0 = the source's tokenizer cannot be loaded."""
    n_prompts: int
    """0 = no predictions were computed."""
    notes: tuple[str, ...] = ()
    """Why something is missing, as sentences for a person."""


class TokenDifference(_Data):
    """A string that the two tokenizers split differently."""

    text: str
    source_tokens: tuple[int, ...]
    """The first 24."""
    model_tokens: tuple[int, ...]


class PredictionCheck(_Data):
    """The converted model's predictions beside the source's, over all positions of the prompts."""

    what: Literal["logits", "embeddings"]
    n_prompts: int
    n_positions: int
    max_difference: float
    """Largest absolute difference of two logits, or of two values of unit vectors."""
    mean_difference: float
    top_agreement: float
    """0 to 1: how often the same token is likeliest; of embeddings the least cosine."""


class ConversionChecked(_Data):
    """How the converted model compares with its source."""

    kind: Literal["conversion_checked"] = "conversion_checked"
    n_strings: int
    """0 = tokens were not compared."""
    n_different: int
    n_different_specials: int
    """Strings of which only the tokens that are added around a text differ."""
    differences: tuple[TokenDifference, ...] = ()
    """The first few."""
    predictions: PredictionCheck | None = None
    """None = not compared."""
    notes: tuple[str, ...] = ()


class JobFailed(_Data):
    """The job could not be done; the last event."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    """One sentence for a person."""


JobResult = (
    ValidateResult
    | TensorStatsResult
    | CompareResult
    | MemoryPlanned
    | CoreFacts
    | QuantizeResult
    | ImatrixResult
    | TextScored
    | ConverterDone
    | SourceReferenceMade
    | ConversionChecked
)
JobEvent = Annotated[
    JobProgress
    | ValidateResult
    | TensorStatsResult
    | CompareResult
    | MemoryPlanned
    | CoreFacts
    | QuantizeResult
    | ImatrixResult
    | TextScored
    | ConverterDone
    | SourceReferenceMade
    | ConversionChecked
    | JobFailed,
    Field(discriminator="kind"),
]
job_event_adapter: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)
