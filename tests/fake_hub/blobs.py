"""Where LFS files lie: on a second port of the Hub, or in an S3 bucket; uploads and downloads go by presigned URLs."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from typing import Any, Protocol

from .faults import FaultTable
from .wire import Answer, Port, Refusal, Request, file_answer


class BlobStore(Protocol):
    """What the Hub asks of a blob store; every name is a sha256."""

    def read(self, name: str) -> bytes | None:
        """The bytes kept under a name."""
        ...

    def names(self) -> list[str]:
        """Everything kept."""
        ...

    def upload_url(self, name: str) -> str:
        """Where to PUT a whole file."""
        ...

    def part_urls(self, name: str, count: int) -> list[str]:
        """Where to PUT its parts."""
        ...

    def complete(self, name: str, etags: list[str]) -> None:
        """Make one file of its parts; raises Refusal."""
        ...

    def download_url(self, name: str) -> str:
        """Where to GET it."""
        ...


class OwnBlobs:
    """A port of its own. As S3 does, it refuses a URL that is not signed, and a signed one that comes with a token."""

    def __init__(self, faults: FaultTable, log: list[Request]) -> None:
        self.port = Port("blobs", self._answer, faults, log)
        self._kept: dict[str, bytes] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        self._secret = secrets.token_bytes(16)
        self._lock = threading.Lock()

    def keep(self, name: str, data: bytes) -> None:
        """Keep bytes without a request."""
        self._kept[name] = data

    def read(self, name: str) -> bytes | None:
        """The bytes kept under a name."""
        return self._kept.get(name)

    def names(self) -> list[str]:
        """Everything kept."""
        return list(self._kept)

    def upload_url(self, name: str) -> str:
        """Where to PUT a whole file."""
        return self._signed("PUT", f"/blobs/{name}")

    def part_urls(self, name: str, count: int) -> list[str]:
        """Where to PUT its parts."""
        with self._lock:
            self._parts[name] = {}
        return [self._signed("PUT", f"/blobs/{name}/{number}") for number in range(1, count + 1)]

    def download_url(self, name: str) -> str:
        """Where to GET it."""
        return self._signed("GET", f"/blobs/{name}")

    def complete(self, name: str, etags: list[str]) -> None:
        """Make one file of its parts; raises Refusal."""
        with self._lock:
            parts = self._parts.get(name, {})
            if [_etag(parts[number]) for number in sorted(parts)] != etags:
                raise Refusal(400, "One or more of the specified parts could not be found.")
            self._put(name, b"".join(parts[number] for number in sorted(parts)))

    def _put(self, name: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != name:
            raise Refusal(400, "The sha256 you specified did not match what was received.")
        self._kept[name] = data

    def _signature(self, method: str, path: str) -> str:
        return hmac.new(self._secret, f"{method} {path}".encode(), "sha256").hexdigest()

    def _signed(self, method: str, path: str) -> str:
        return f"{self.port.url}{path}?signature={self._signature(method, path)}"

    def _answer(self, request: Request) -> Answer:
        try:
            return self._serve(request)
        except Refusal as refusal:
            return refusal.answer

    def _serve(self, request: Request) -> Answer:
        if "Authorization" in request.headers:
            raise Refusal(400, "Only one auth mechanism allowed.")
        method = "GET" if request.method == "HEAD" else request.method
        if request.query.get("signature") != self._signature(method, request.path):
            raise Refusal(403, "SignatureDoesNotMatch")
        found = re.fullmatch(r"/blobs/([0-9a-f]{64})(?:/(\d+))?", request.path)
        if not found:
            raise Refusal(404, "NoSuchKey")
        name, part = found.groups()
        if method == "PUT" and part:
            with self._lock:
                self._parts[name][int(part)] = request.body
            return Answer(headers={"ETag": _etag(request.body)})
        if method == "PUT":
            self._put(name, request.body)
            return Answer(headers={"ETag": _etag(request.body)})
        data = self.read(name)
        if data is None:
            raise Refusal(404, "NoSuchKey")
        return file_answer(request, data, {"ETag": f'"{name}"'})


class S3Blobs:
    """A bucket behind an S3 address, with boto3's presigned URLs."""

    def __init__(self, url: str, bucket: str = "hub") -> None:
        import boto3
        from botocore.config import Config

        self._bucket = bucket
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self._s3.create_bucket(Bucket=bucket)
        self._uploads: dict[str, str] = {}

    def read(self, name: str) -> bytes | None:
        """The bytes kept under a name."""
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None

    def names(self) -> list[str]:
        """Everything kept."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        return [kept["Key"] for page in pages for kept in page.get("Contents", [])]

    def upload_url(self, name: str) -> str:
        """Where to PUT a whole file."""
        return self._presigned("put_object", Key=name)

    def part_urls(self, name: str, count: int) -> list[str]:
        """Where to PUT its parts."""
        id = self._uploads[name] = self._s3.create_multipart_upload(Bucket=self._bucket, Key=name)["UploadId"]
        return [self._presigned("upload_part", Key=name, UploadId=id, PartNumber=n) for n in range(1, count + 1)]

    def complete(self, name: str, etags: list[str]) -> None:
        """Make one file of its parts; raises Refusal."""
        from botocore.exceptions import ClientError

        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        try:
            self._s3.complete_multipart_upload(
                Bucket=self._bucket, Key=name, UploadId=self._uploads.pop(name), MultipartUpload={"Parts": parts}
            )
        except (ClientError, KeyError) as error:
            raise Refusal(400, str(error)) from error

    def download_url(self, name: str) -> str:
        """Where to GET it."""
        return self._presigned("get_object", Key=name)

    def _presigned(self, call: str, **values: Any) -> str:
        return self._s3.generate_presigned_url(call, Params={"Bucket": self._bucket, **values}, ExpiresIn=3600)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
