# A WebSocket server of the `websockets` library: echoes. /small takes messages up to 4096 bytes, /close-CODE
# closes with that code after the first message, /push sends before it is asked.
# Usage: websocket_server.py PORT [CERTIFICATE KEY]
import asyncio
import http
import ssl
import sys

import websockets
from websockets.extensions import permessage_deflate


async def talk(socket, path):
    try:
        if path.startswith("/push"):
            for number in range(5):
                await socket.send(f"push {number}")
        async for message in socket:
            await socket.send(message)
            if path.startswith("/close-"):
                await socket.close(int(path[7:11]), "as asked")
    except websockets.ConnectionClosed:
        pass


class Server(websockets.WebSocketServerProtocol):
    async def process_request(self, path, headers):
        if path == "/ready":
            return http.HTTPStatus.OK, [], b"ready\n"
        if path.startswith("/small"):
            self.max_size = 4096


async def main():
    deflate = [permessage_deflate.ServerPerMessageDeflateFactory()]
    port, *pair = sys.argv[1:]
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if pair else None
    if tls:
        tls.load_cert_chain(*pair)
    async with websockets.serve(talk, "0.0.0.0", int(port), ssl=tls, create_protocol=Server, compression=None,
                                extensions=deflate, ping_interval=None, close_timeout=1):
        await asyncio.Future()


asyncio.run(main())
