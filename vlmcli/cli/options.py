"""The options that several commands share, each declared once, and the groups that they form (see groups.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcli.cli import checks
from vlmcli.cli.kinds import fitting, kind_for
from vlmcli.cli.notice import default_notice
from vlmcli.cli.runtime import Runtime
from vlmcli.errors import UsageError

if TYPE_CHECKING:
    from vlmcli.render.sink import Mode, Sink


def complete_model(incomplete: str) -> list[str]:
    from vlmcli.catalog import Catalog

    try:
        return [spec.name for spec in Catalog.load().specs() if spec.name.startswith(incomplete)]
    except UsageError:
        return []  # A Tab press is no place to complain about the user's models.toml.


Images = Annotated[
    list[str] | None,
    typer.Option("-i", "--image", metavar="IMAGE", help="An image: a file, a URL or -. Can be repeated."),
]
Prompt = Annotated[
    str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="The prompt; then every word is an image.")
]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="The system message.")]
Raw = Annotated[bool, typer.Option("--raw", help="Give the prompt to the model as it stands, without chat template.")]

Temperature = Annotated[
    float, typer.Option(callback=checks.within(0), metavar="T", help="Randomness; 0 always takes the likeliest token.")
]
TopP = Annotated[
    float,
    typer.Option(
        callback=checks.within(0, 1, above=True), metavar="P", help="Sample from the likeliest tokens that sum to P."
    ),
]
MinP = Annotated[
    float, typer.Option(callback=checks.within(0, 1), metavar="P", help="Drop tokens below P times the likeliest.")
]

Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="A name from 'vlm models', a folder, a GGUF file, or a hub id (org/name).  [env: VLM_MODEL]",
        autocompletion=complete_model,
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.  [env: VLM_DEVICE]")
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="DTYPE", help="auto, float32, bfloat16 or float16.  [env: VLM_DTYPE]")
]
DeviceMap = Annotated[
    str | None,
    typer.Option("--device-map", metavar="auto", help="Spread a model that no single device holds over all of them."),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="BITS",
        help="int8 or int4: a decoder's weights on a CPU, smaller and faster, and less exact.  [env: VLM_QUANTIZE]",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="CPU threads of the model.  [env: VLM_THREADS]")
]
MaxPixels = Annotated[
    str | None,
    typer.Option("--max-pixels", metavar="N", help="Refuse larger images, such as 64M.  [env: VLM_MAX_PIXELS]"),
]
PrivateUrls = Annotated[
    bool, typer.Option("--allow-private-urls", help="Let image URLs lead to private and loopback addresses.")
]

NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Encode the images anew, and keep nothing of them; see 'vlm cache'.")
]

Force = Annotated[bool, typer.Option("--force", help="Replace files that exist already.")]

Json = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="Write one JSON object a line, as things happen.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No notes on stderr, only errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Sizes, token counts and timings on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.  [env: VLM_DEBUG]")]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How results are written."""

    json: Json = False
    jsonl: Jsonl = False
    quiet: Quiet = False
    verbose: Verbose = False
    debug: Debug = False

    def mode(self) -> Mode:
        """The sink's mode. Raises UsageError for options that contradict each other."""
        if self.json and self.jsonl:
            raise UsageError("--json and --jsonl exclude each other")
        if self.quiet and self.verbose:
            raise UsageError("-q and -v exclude each other")
        if self.json or self.jsonl:
            return "json" if self.json else "jsonl"
        return "quiet" if self.quiet else "human"

    def sink(self, runtime: Runtime) -> Sink:
        """The sink for the runtime's streams."""
        from vlmcli.render.sink import make_sink

        streams = {"stdout": runtime.stdout, "stderr": runtime.stderr}
        return make_sink(self.mode(), verbose=self.verbose, quiet=self.quiet, **streams)


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What is asked, beside the words of the command line."""

    image: Images = None
    prompt: Prompt = None
    system: System = None
    raw: Raw = False

    def check(self) -> None:
        """Raises UsageError for a system message that would have no place to go."""
        if self.raw and self.system is not None:
            raise UsageError(
                "--raw and --system exclude each other", "with --raw the prompt is all that the model reads"
            )


@dataclass(frozen=True, slots=True)
class QuietOptions:
    """How the results of commands without a model are written: there is no more to tell about them."""

    json: Json = False
    jsonl: Jsonl = False
    quiet: Quiet = False
    debug: Debug = False

    def sink(self, runtime: Runtime) -> Sink:
        """The sink for the runtime's streams."""
        return OutputOptions(self.json, self.jsonl, self.quiet).sink(runtime)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model answers, and where; None where the command line does not say."""

    model: Model = None
    device: Device = None
    dtype: Dtype = None
    quantize: Quantize = None
    threads: Threads = None
    max_pixels: MaxPixels = None
    allow_private_urls: PrivateUrls = False
    no_cache: NoCache = False
    device_map: DeviceMap = None

    def settled(self) -> dict[str, Any]:
        """What ``vlmcli.api.load.load`` takes, completed from the environment and the user's config file, and checked.

        Raises UsageError for a value that makes no sense, wherever it comes from.
        """
        from vlmcli.config import setting

        quantize = checks.quantize(setting("quantize", self.quantize, None, str))
        return {
            "model": setting("model", self.model, None, str),
            "device": checks.device(setting("device", self.device, "auto")),
            "dtype": checks.dtype(setting("dtype", self.dtype, "auto")),
            "threads": checks.threads(setting("threads", self.threads, None, int)),
            "max_pixels": checks.pixels(setting("max_pixels", self.max_pixels, "64M")),
            "allow_private_urls": self.allow_private_urls,
            "cache": not self.no_cache,
            **({} if quantize is None else {"quantize": quantize}),
            **({} if self.device_map is None else {"device_map": checks.device_map(self.device_map, self.device)}),
        }

    def open(self, runtime: Runtime, output: OutputOptions, sink: Sink, verb: str) -> Any:
        """Load a model that can ``verb``, after a word about it where none was named.

        Raises UsageError for a model of the other kind, and what ``vlmcli.api.load.load`` raises.
        """
        settled = self.settled()
        if settled["model"] is None:
            sink.note(default_notice(kind_for(verb)))
        return self.load(runtime, output, verb, settled["model"])

    def load(self, runtime: Runtime, output: OutputOptions, verb: str, name: str | None) -> Any:
        """Load the model ``name``, which must be able to ``verb``, with these options. Raises as ``open``."""
        settled = {**self.settled(), "model": name}
        progress = not output.quiet and runtime.stderr.isatty()
        model = runtime.load(kind=kind_for(verb), progress=progress, **settled)
        if not hasattr(model, verb):
            able = " and ".join(f"vlm {other}" for other in fitting(model))
            raise UsageError(f"{model.info.id} cannot do {verb}, it is another kind of model", f"made for {able}")
        return model
