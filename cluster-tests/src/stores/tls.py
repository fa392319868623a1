"""TLS before a server that has none, with a certificate that nobody knows but those who are given it.

Usage: tls.py ADDRESS UPSTREAM FOLDER; the certificate is written to FOLDER/certificate.pem
"""

import asyncio
import datetime
import ipaddress
import pathlib
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BLOCK_BYTES = 64 << 10


def make_certificate(host, folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    certificate = builder.add_extension(addresses, critical=False).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))


async def pass_on(reader, writer):
    try:
        while block := await reader.read(BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def serve(address, upstream, folder):
    async def relay(reader, writer):
        from_server, to_server = await asyncio.open_connection(*upstream)
        await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    server = await asyncio.start_server(relay, *address, ssl=context)
    await server.serve_forever()


def host_and_port(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


def main():
    address, upstream, folder = host_and_port(sys.argv[1]), host_and_port(sys.argv[2]), pathlib.Path(sys.argv[3])
    make_certificate(address[0], folder)
    asyncio.run(serve(address, upstream, folder))


if __name__ == "__main__":
    main()
