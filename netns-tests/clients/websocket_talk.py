# A client of the `websockets` library: sends its arguments as text messages and prints what it hears, a line a message,
# then how it ended. "-N": first wait for N messages; "stay": nothing more, and stay until the server ends it.
# Usage: websocket_talk.py URL [MESSAGE|-N|stay]...
import asyncio
import ssl
import sys

import websockets


async def main():
    url, *words = sys.argv[1:]
    options = {"ssl": ssl.create_default_context()} if url.startswith("wss:") else {}
    async with websockets.connect(url, ping_interval=None, close_timeout=2, **options) as socket:
        try:
            for word in words:
                if word == "stay":
                    while True:
                        print("<", await socket.recv(), flush=True)
                elif word.startswith("-"):
                    for _ in range(int(word[1:])):
                        print("<", await asyncio.wait_for(socket.recv(), 10), flush=True)
                else:
                    await socket.send(word)
        except websockets.ConnectionClosed:
            pass
    print("closed", socket.close_code, socket.close_reason, flush=True)


asyncio.run(main())
