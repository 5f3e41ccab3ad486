"""`nlp-ft export`: trace, compare, then write the whole output or nothing."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nlp_ft.cli.arguments import Parser
from nlp_ft.errors import ConfigError, ModelError


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
    names = ("text_column_names", "text_pair_column_name", "label_column_name", "text_column_delimiter", "delimiter")
    columns = {name: getattr(args, name) for name in names}
    rows, notes = comparison_rows(classifier, model, args.test_file, columns, args.limit)
    for note in notes:
        print(note, file=sys.stderr)
    with staged(output) as stage:
        exported = write_export(stage, args.model, classifier, rows, args.format, args.quantize, args.batch_size)
        print(exported.table())
        if not args.allow_loss:
            check_loss(exported, args.model)
    print(f"written: {output}; nlp_ft.load({str(output)!r}) loads it", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(prog="nlp-ft export", description=export.__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument("--format", required=True, choices=["onnx", "openvino"], help="format to write")
    parser.add_argument(
        "--quantize", choices=["int8"], help="8-bit linear layers (onnx): smaller and faster, not exact"
    )
    parser.add_argument("--output", help="directory to write (default MODEL/onnx, MODEL/onnx-int8 or MODEL/openvino)")
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
    parser.add_argument("--delimiter", help="delimiter of a CSV file; detected if not given")
    return parser


def _output(args: argparse.Namespace) -> Path:
    """Return the output directory, which must not exist. Raises: ConfigError."""
    if args.output is None and not Path(args.model).expanduser().is_dir():
        raise ConfigError("nlp-ft export: --output is missing; a name on the Hub has no directory to write into.")
    kind = f"{args.format}-{args.quantize}" if args.quantize else args.format
    output = Path(args.output).expanduser() if args.output else Path(args.model).expanduser() / kind
    if output.exists() or output.is_symlink():
        raise ConfigError(f"nlp-ft export: --output {output} is there already; name another. Nothing is written over.")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"nlp-ft export: --output {output}: there is no directory {output.absolute().parent}.")
    return output


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """Yield a new directory beside the output.

    It is renamed to the output at the end, and removed on an error.
    """
    stage = output.absolute().with_name(f"{output.name}.unfinished")
    shutil.rmtree(stage, ignore_errors=True)  # left by an export that was killed
    stage.mkdir()
    try:
        yield stage
        stage.rename(output)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
