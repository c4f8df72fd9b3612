"""Run by a test at the far end: servers that answer whoever asks. Arguments: address, certificate, key.

DNS over UDP and TCP on port 53 answers every question with 192.0.2.80; HTTP on 80 and TLS on 443 say "welcome".
"""

import http.server
import socket
import ssl
import struct
import sys
import threading


def answer(query: bytes) -> bytes:
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12 : end + 5]
    head = query[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, 1, 0, 0)
    return head + question + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.80")


def dns_udp(address: str) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        query, who = server.recvfrom(4096)
        server.sendto(answer(query), who)


def dns_tcp(address: str) -> None:
    server = socket.create_server((address, 53))
    while True:
        client, _ = server.accept()
        threading.Thread(target=_dns_client, args=(client,), daemon=True).start()


def _dns_client(client: socket.socket) -> None:
    with client, client.makefile("rb") as stream:
        while head := stream.read(2):
            reply = answer(stream.read(int.from_bytes(head, "big")))
            client.sendall(struct.pack(">H", len(reply)) + reply)


class Welcome(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"welcome\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def main() -> None:
    address, certificate, key = sys.argv[1:]
    plain = http.server.ThreadingHTTPServer((address, 80), Welcome)
    secure = http.server.ThreadingHTTPServer((address, 443), Welcome)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    for work in (plain.serve_forever, secure.serve_forever):
        threading.Thread(target=work, daemon=True).start()
    for serve in (dns_udp, dns_tcp):
        threading.Thread(target=serve, args=(address,), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


main()
