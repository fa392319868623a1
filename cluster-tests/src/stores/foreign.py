"""The clouds' own clients, by which tests look into an object store: a request and its answer are a line of JSON each.

Usage: foreign.py s3|s3s|azure|gcs ENDPOINT KEY_ID SECRET [FOLDER]
"""

import base64
import concurrent.futures
import json
import pathlib
import re
import sys
import urllib.request

THREADS = 4


class Client:
    def put_many(self, bucket, keys):
        with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda key: self.put(bucket, key, b"1"), keys))


class S3(Client):
    listing = {}

    def __init__(self, endpoint, key_id, secret):
        import boto3
        from botocore.config import Config

        settings = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=30)
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=settings,
        )

    def make_bucket(self, bucket):
        self.client.create_bucket(Bucket=bucket)

    def keys(self, bucket, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **self.listing)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def get(self, bucket, key):
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def put(self, bucket, key, content):
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def archive(self, bucket, key):
        self.client.put_object(Bucket=bucket, Key=key, Body=self.get(bucket, key), StorageClass="GLACIER")

    def storage_class(self, bucket, key):
        return self.client.head_object(Bucket=bucket, Key=key).get("StorageClass", "")

    def parts(self, bucket, key):
        """How many an object was made of, which its tag tells; 1 when it was put as a whole."""
        _, _, parts = self.client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"').partition("-")
        return int(parts or 1)

    def uploads(self, bucket):
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


class S3s(S3):
    """s3s-fs lists no uploads: each has a file in the server's folder that names its bucket and key."""

    # It says that it encodes the keys of a listing and does not: the client decodes none where it was asked for this.
    listing = {"EncodingType": "url"}

    def __init__(self, endpoint, key_id, secret, folder):
        super().__init__(endpoint, key_id, secret)
        self.folder = pathlib.Path(folder)

    def uploads(self, bucket):
        named = [re.match(r"\.bucket-(.*)\.object-(.*)\.upload-", file.name) for file in self.folder.iterdir()]
        decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        return [decode(found[2]) for found in named if found and decode(found[1]) == bucket]


class Azure(Client):
    def __init__(self, endpoint, account, key):
        from azure.storage.blob import BlobServiceClient

        credential = {"account_name": account, "account_key": key}
        self.client = BlobServiceClient(endpoint, credential=credential, retry_total=0)

    def make_bucket(self, bucket):
        self.client.create_container(bucket)

    def keys(self, bucket, prefix):
        return list(self.client.get_container_client(bucket).list_blob_names(name_starts_with=prefix))

    def get(self, bucket, key):
        return self.client.get_blob_client(bucket, key).download_blob().readall()

    def put(self, bucket, key, content):
        self.client.get_blob_client(bucket, key).upload_blob(content, overwrite=True)

    def archive(self, bucket, key):
        self.client.get_blob_client(bucket, key).set_standard_blob_tier("Archive")

    def storage_class(self, bucket, key):
        return self.client.get_blob_client(bucket, key).get_blob_properties().blob_tier

    def uploads(self, bucket):
        """Blobs that have blocks and were never committed; the service drops them after a week."""
        blobs = self.client.get_container_client(bucket).list_blobs(include=["uncommittedblobs"])
        return sorted({blob.name for blob in blobs} - set(self.keys(bucket, "")))


class Gcs(Client):
    """The endpoint of the XML interface; the JSON interface, which the cloud's client speaks, comes in place of a key."""

    def __init__(self, endpoint, json_endpoint, _secret):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        self.xml_endpoint = endpoint
        options = {"api_endpoint": json_endpoint}
        self.client = storage.Client(project="test", credentials=AnonymousCredentials(), client_options=options)

    def make_bucket(self, bucket):
        self.client.create_bucket(bucket)

    def keys(self, bucket, prefix):
        return [blob.name for blob in self.client.list_blobs(bucket, prefix=prefix)]

    def get(self, bucket, key):
        return self.client.bucket(bucket).blob(key).download_as_bytes()

    def put(self, bucket, key, content):
        self.client.bucket(bucket).blob(key).upload_from_string(content)

    def uploads(self, bucket):
        """The cloud's client cannot list them."""
        with urllib.request.urlopen(f"{self.xml_endpoint}/{bucket}?uploads") as answer:
            return re.findall("<Upload><Key>(.*?)</Key>", answer.read().decode())


def answer(client, request):
    call = request.pop("call")
    # Contents go through files.
    if "content" in request:
        with open(request["content"], "rb") as file:
            request["content"] = file.read()
    into = request.pop("into", None)
    value = getattr(client, call)(**request)
    if into is None:
        return value
    with open(into, "wb") as file:
        file.write(value)


def main():
    client = {"s3": S3, "s3s": S3s, "azure": Azure, "gcs": Gcs}[sys.argv[1]](*sys.argv[2:])
    for line in sys.stdin:
        try:
            said = {"value": answer(client, json.loads(line))}
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
