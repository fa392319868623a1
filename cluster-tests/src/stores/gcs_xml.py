"""The XML interface of Google Cloud Storage before fake-gcs-server, which writes by its JSON interface alone.

Reads go through as they are. Parts of an upload are held here until they become one object.

Usage: gcs_xml.py HOST:PORT UPSTREAM_HOST:PORT
"""

import http.client
import http.server
import itertools
import json
import hashlib
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as xml
from xml.sax.saxutils import escape

BLOCK_BYTES = 1 << 20
PASSED_ON = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


def quoted(text):
    return urllib.parse.quote(text, safe="")


class Gateway(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, upstream):
        super().__init__(address, Requests)
        self.upstream = upstream
        self.uploads = {}
        self.ids = itertools.count(1)
        self.lock = threading.Lock()


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def parts(self):
        """Bucket, key and query of what is asked for."""
        path, _, query = self.path.partition("?")
        bucket, _, key = path.lstrip("/").partition("/")
        query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return urllib.parse.unquote(bucket), urllib.parse.unquote(key), query

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def ask(self, method, path, body=None, headers=None):
        """An answer of the server behind, with its connection."""
        connection = http.client.HTTPConnection(self.server.upstream, timeout=120)
        connection.request(method, path, body, headers or {})
        return connection.getresponse()

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self.answer(status, text.encode(), [("content-type", "application/xml")])

    def refuse_as(self, status, bucket):
        """What the server behind says by a status alone, as a code; a listing of no bucket it calls its own error."""
        if status in (404, 500):
            is_there = self.ask("GET", f"/storage/v1/b/{quoted(bucket)}").status == 200
            return self.refuse(404, "NoSuchKey" if is_there else "NoSuchBucket")
        if status == 412:
            return self.refuse(412, "PreconditionFailed")
        return self.refuse(status, "InternalError")

    def do_GET(self):
        bucket, key, query = self.parts()
        if not key and "uploads" in query:
            return self.list_uploads(bucket)
        headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}
        got = self.ask(self.command, self.path, headers=headers)
        if got.status >= 400 and got.status != 416:
            return self.refuse_as(got.status, bucket)
        self.send_response(got.status)
        for name, value in got.getheaders():
            if name.lower() not in ("connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        if got.getheader("content-length") is None:
            self.send_header("connection", "close")
        self.end_headers()
        while self.command != "HEAD" and (block := got.read(BLOCK_BYTES)):
            self.wfile.write(block)

    do_HEAD = do_GET

    def do_PUT(self):
        bucket, key, query = self.parts()
        if not key:
            return self.refuse(501, "NotImplemented")
        if "partNumber" in query:
            return self.put_part(query)
        if "x-goog-copy-source" in self.headers:
            return self.copy(bucket, key)
        self.write(bucket, key, self.body(), self.headers.get("x-goog-if-generation-match"), b"")

    def write(self, bucket, key, content, generation, said):
        path = f"/upload/storage/v1/b/{quoted(bucket)}/o?uploadType=media&name={quoted(key)}"
        if generation is not None:
            path += f"&ifGenerationMatch={generation}"
        got = self.ask("POST", path, content, {"content-type": "application/octet-stream"})
        self.written(bucket, got, lambda made: made, said)

    def written(self, bucket, got, of, said):
        content = got.read()
        if got.status >= 300:
            return self.refuse_as(got.status, bucket)
        made = of(json.loads(content))
        etag = '"{}"'.format(made["etag"].strip('"'))
        said = said.replace(b"ETAG", escape(etag).encode())
        self.answer(200, said, [("etag", etag), ("x-goog-generation", str(made["generation"]))])

    def copy(self, bucket, key):
        source = urllib.parse.unquote(self.headers["x-goog-copy-source"]).lstrip("/")
        from_bucket, _, from_key = source.partition("/")
        path = f"/storage/v1/b/{quoted(from_bucket)}/o/{quoted(from_key)}"
        path += f"/rewriteTo/b/{quoted(bucket)}/o/{quoted(key)}"
        generation = self.headers.get("x-goog-if-generation-match")
        if generation is not None:
            path += f"?ifGenerationMatch={generation}"
        got = self.ask("POST", path, b"{}", {"content-type": "application/json"})
        self.written(from_bucket, got, lambda made: made["resource"], b"<CopyObjectResult/>")

    def put_part(self, query):
        content = self.body()
        with self.server.lock:
            upload = self.server.uploads.get(query["uploadId"])
            if upload is not None:
                upload["parts"][int(query["partNumber"])] = content
        if upload is None:
            return self.refuse(404, "NoSuchUpload")
        self.answer(200, headers=[("etag", f'"{hashlib.md5(content).hexdigest()}"')])

    def do_POST(self):
        bucket, key, query = self.parts()
        body = self.body()
        if "uploads" in query:
            if self.ask("GET", f"/storage/v1/b/{quoted(bucket)}").status != 200:
                return self.refuse(404, "NoSuchBucket")
            with self.server.lock:
                upload = str(next(self.server.ids))
                self.server.uploads[upload] = {"bucket": bucket, "key": key, "parts": {}}
            said = f"<InitiateMultipartUploadResult><Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key>"
            said += f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return self.answer(200, said.encode())
        with self.server.lock:
            upload = self.server.uploads.pop(query.get("uploadId"), None)
        if upload is None:
            return self.refuse(404, "NoSuchUpload")
        numbers = [int(part.findtext("{*}PartNumber")) for part in xml.fromstring(body)]
        content = b"".join(upload["parts"][number] for number in numbers)
        said = b"<CompleteMultipartUploadResult><ETag>ETAG</ETag></CompleteMultipartUploadResult>"
        self.write(bucket, key, content, None, said)

    def do_DELETE(self):
        bucket, key, query = self.parts()
        if "uploadId" in query:
            with self.server.lock:
                upload = self.server.uploads.pop(query["uploadId"], None)
            return self.answer(204) if upload is not None else self.refuse(404, "NoSuchUpload")
        got = self.ask("DELETE", f"/storage/v1/b/{quoted(bucket)}/o/{quoted(key)}")
        return self.answer(204) if got.status < 300 else self.refuse_as(got.status, bucket)

    def list_uploads(self, bucket):
        with self.server.lock:
            keys = [upload["key"] for upload in self.server.uploads.values() if upload["bucket"] == bucket]
        uploads = "".join(f"<Upload><Key>{escape(key)}</Key></Upload>" for key in keys)
        self.answer(200, f"<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>".encode())


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    Gateway((host, int(port)), sys.argv[2]).serve_forever()
