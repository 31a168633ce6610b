"""Runs in the environment of constraints/spark.txt: answers texts of SQL over Parquet files by Spark, local.

A case comes as JSON by standard input: {"tables": {name: [file, ...]}, "columns": {name: {column: type}}, "texts":
[sql, ...]}; out goes a list of {"columns": [...], "rows": [[...], ...]} or {"error": ...} behind a line of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from decimal import Decimal
from typing import Any

from pyspark.sql import SparkSession

MARK = "----"


def plain(value: Any) -> Any:
    return (int(value) if value == int(value) else float(value)) if isinstance(value, Decimal) else value


def main() -> None:
    case = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        builder = SparkSession.builder.master("local[2]").appName("questions")
        for name, value in {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.driver.memory": "1g",
            # Each query is compiled and runs once: the optimizing compiler takes as much time again as all of them.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.warehouse.dir": folder,
            "spark.sql.session.timeZone": "UTC",
        }.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        for name, files in case["tables"].items():
            typed = [f"cast(`{column}` as {kind}) as `{column}`" for column, kind in case["columns"][name].items()]
            spark.read.parquet(*files).selectExpr(*typed).coalesce(2).cache().createOrReplaceTempView(name)
        found = []
        for text in case["texts"]:
            try:
                answer = spark.sql(text)
                rows = [[plain(value) for value in row] for row in answer.collect()]
                found.append({"columns": answer.columns, "rows": rows})
            except Exception as error:
                found.append({"error": str(error)[:500]})
        spark.stop()
    print(f"\n{MARK}\n{json.dumps(found)}")


if __name__ == "__main__":
    main()
