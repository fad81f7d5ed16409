"""The 22 queries of TPC-H in Spark SQL with the specification's validation parameters: name -> text."""

from pathlib import Path

QUERIES = {path.stem: path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("q*.sql"))}
