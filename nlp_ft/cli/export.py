"""`nlp-ft export`: trace, compare, then write the whole output or nothing."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nlp_ft.cli.arguments import Parser, add_reading_flags
from nlp_ft.config.files import check_files
from nlp_ft.errors import ConfigError, ModelError

_GRAPHS = {None: "model.onnx", "int8": "model_quantized.onnx"}  # by --quantize


def export(argv: Sequence[str]) -> None:
    """Write a fine-tuned model as ONNX or OpenVINO, with a table of parity and speed."""
    args = _parser().parse(argv)
    if args.quantize and args.format != "onnx":
        raise ConfigError(
            f"nlp-ft export: --quantize {args.quantize} is for --format onnx; {args.format} is float32 here."
        )
    if args.allow_loss and not args.quantize:
        raise ConfigError("nlp-ft export: --allow_loss is for --quantize; a float32 export loses nothing.")
    output = _output(args)
    beside = output.exists()
    check_files(args.test_file or ())
    from nlp_ft.data import reading_of
    from nlp_ft.inference.export.export import check_loss, write_export
    from nlp_ft.inference.export.runtime import is_export
    from nlp_ft.inference.export.sample_rows import comparison_rows
    from nlp_ft.inference.export.trace import require_packages
    from nlp_ft.inference.load import load

    require_packages(args.format)
    model = Path(args.model).expanduser()
    if is_export(model):
        raise ModelError(f"{args.model} is an export already; wanted the directory that it was made from.")
    import torch

    classifier = load(args.model, args.revision, device="cpu", dtype=torch.float32)
    names = ("text_column_names", "text_pair_column_name", "label_column_name", "text_column_delimiter")
    columns = {name: getattr(args, name) for name in names} | reading_of(args)
    rows, notes = comparison_rows(classifier, model, args.test_file, columns, args.limit)
    for note in notes:
        print(note, file=sys.stderr)
    with staged(output) as stage:
        exported = write_export(stage, args.model, classifier, rows, args.format, args.quantize, args.batch_size)
        print(exported.table())
        if not args.allow_loss:
            check_loss(exported, args.model)
    opened = output / _GRAPHS[args.quantize] if beside and args.quantize else output
    print(f"written: {opened}; nlp_ft.load({str(opened)!r}) loads it", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(prog="nlp-ft export", description=export.__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument("--format", required=True, choices=["onnx", "openvino"], help="format to write")
    parser.add_argument(
        "--quantize", choices=["int8"], help="8-bit linear layers (onnx): smaller and faster, not exact"
    )
    parser.add_argument(
        "--output",
        help="directory to write (default MODEL/onnx or MODEL/openvino); int8 goes beside a float32 graph in it",
    )
    parser.add_argument("--test_file", nargs="+", help="labelled rows to compare on (default: those of the run)")
    parser.add_argument(
        "--allow_loss", action="store_true", help="also write an int8 export that loses more than one point"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="rows at a time when comparing (default 32)")
    parser.add_argument("--limit", type=int, default=2000, help="most rows to compare, spread evenly (default 2000)")
    parser.add_argument("--text_column_names", help="text column, or two for a pair; detected if not given")
    parser.add_argument("--text_pair_column_name", help="second text of a pair")
    parser.add_argument("--label_column_name", help="label column; detected if not given")
    parser.add_argument("--text_column_delimiter", help="joins several text columns")
    add_reading_flags(parser)
    return parser


def _output(args: argparse.Namespace) -> Path:
    """Return the output directory: a new one, or one with the other ONNX graph. Raises: ConfigError."""
    if args.output is None and not Path(args.model).expanduser().is_dir():
        raise ConfigError("nlp-ft export: --output is missing; a name on the Hub has no directory to write into.")
    output = Path(args.output).expanduser() if args.output else Path(args.model).expanduser() / args.format
    if (output.exists() or output.is_symlink()) and not _takes_another(output, args):
        raise ConfigError(f"nlp-ft export: --output {output} is there already; name another. Nothing is written over.")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"nlp-ft export: --output {output}: there is no directory {output.absolute().parent}.")
    return output


def _takes_another(output: Path, args: argparse.Namespace) -> bool:
    """Whether a directory holds the float32 or int8 graph alone, and the other one is to be written."""
    held = {name for name in _GRAPHS.values() if (output / name).is_file()}
    return args.format == "onnx" and len(held) == 1 and _GRAPHS[args.quantize] not in held


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """Yield a new directory beside the output.

    It is renamed to the output at the end, or its graph moved in where that is there; and removed on an error.
    """
    stage = output.absolute().with_name(f"{output.name}.unfinished")
    shutil.rmtree(stage, ignore_errors=True)  # left by an export that was killed
    stage.mkdir()
    try:
        yield stage
        if output.is_dir():
            _add(stage, output)
        else:
            stage.rename(output)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _add(stage: Path, output: Path) -> None:
    """Move a graph and its figures beside another graph of the same model, the graph last.

    export.json and export.txt are those of the float32 graph. Raises: ConfigError for another model's directory.
    """
    if (stage / "config.json").read_bytes() != (output / "config.json").read_bytes():
        raise ConfigError(f"nlp-ft export: --output {output} holds a graph of another model; name another directory.")
    quantized = stage if (stage / _GRAPHS["int8"]).is_file() else output
    for ending in ("json", "txt"):
        (quantized / f"export.{ending}").rename(quantized / f"export_quantized.{ending}")
    for file in sorted(stage.iterdir(), key=lambda file: (file.suffix == ".onnx", file.name)):
        if not (output / file.name).exists():
            file.rename(output / file.name)
