# A WebSocket server of the `websockets` library: echoes. /small takes messages up to 4096 bytes, /close-CODE
# closes with that code after the first message, /push sends before it is asked, /reset answers the first message with
# 300 long ones and ends by a RST when the client has them.
# Usage: websocket_server.py PORT [CERTIFICATE KEY]
import asyncio
import http
import ssl
import struct
import sys
from socket import SO_LINGER, SOL_SOCKET

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
            if path.startswith("/reset"):
                for number in range(300):
                    await socket.send(f"{number} {'.' * 4000}")
                await (await socket.ping())
                connection = socket.transport.get_extra_info("socket")
                connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                socket.transport.abort()
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
