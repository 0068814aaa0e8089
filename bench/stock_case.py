"""The provider's contender: the stock operators' `execute`, one object after the other, as a task runs them.

    python -m bench.stock_case CASE_JSON

The connections are in the environment. The time that counts begins when everything is imported.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the operator of the case and print how long it took."""
    case: Mapping[str, Any] = json.loads(sys.argv[1])
    execute = _PAIRS[case["source"], case["destination"]](case)
    started = time.monotonic()
    execute()
    print(json.dumps({"seconds": time.monotonic() - started}))


def _s3_to_azure(case: Mapping[str, Any]) -> Callable[[], object]:
    from airflow.providers.microsoft.azure.transfers.s3_to_wasb import S3ToAzureBlobStorageOperator

    operator = S3ToAzureBlobStorageOperator(
        task_id="copy",
        s3_bucket=case["bucket"],
        s3_prefix="objects",
        container_name="destination",
        blob_prefix=case["prefix"],
    )
    return lambda: operator.execute({})


def _s3_to_gcs(case: Mapping[str, Any]) -> Callable[[], object]:
    from airflow.providers.google.cloud.transfers.s3_to_gcs import S3ToGCSOperator

    operator = S3ToGCSOperator(
        task_id="copy", bucket=case["bucket"], prefix="objects/", dest_gcs=f"gs://destination/{case['prefix']}/"
    )
    return lambda: operator.execute({})


def _local_to_s3(case: Mapping[str, Any]) -> Callable[[], object]:
    from airflow.providers.amazon.aws.transfers.local_to_s3 import LocalFilesystemToS3Operator

    operators = [
        LocalFilesystemToS3Operator(
            task_id="copy",
            filename=str(file),
            dest_bucket="destination",
            dest_key=f"{case['prefix']}/{file.name}",
            replace=True,
        )
        for file in sorted(Path(case["folder"]).iterdir())
    ]
    return lambda: [operator.execute({}) for operator in operators]


_PAIRS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Callable[[], object]]] = {
    ("s3", "az"): _s3_to_azure,
    ("s3", "gs"): _s3_to_gcs,
    ("file", "s3"): _local_to_s3,
}


if __name__ == "__main__":
    main()
