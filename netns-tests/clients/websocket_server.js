// The same server as websocket_server.py, of the `ws` library; /plain has no compression. Usage: websocket_server.js PORT
const http = require("http");
const {WebSocketServer} = require("/usr/share/nodejs/ws");

const deflate = {threshold: 0};
const servers = {
  usual: new WebSocketServer({noServer: true, perMessageDeflate: deflate}),
  small: new WebSocketServer({noServer: true, perMessageDeflate: deflate, maxPayload: 4096}),
  plain: new WebSocketServer({noServer: true, perMessageDeflate: false}),
};

const server = http.createServer((request, response) => response.end("ready\n"));
server.on("upgrade", (request, socket, head) => {
  const kind = request.url.startsWith("/small") ? "small" : request.url.startsWith("/plain") ? "plain" : "usual";
  servers[kind].handleUpgrade(request, socket, head, (peer) => {
    peer.on("error", () => {});
    peer.on("message", (data, binary) => {
      peer.send(data, {binary});
      if (request.url.startsWith("/close-")) peer.close(Number(request.url.slice(7, 11)), "as asked");
    });
    if (request.url.startsWith("/push")) for (let i = 0; i < 5; ++i) peer.send(`push ${i}`);
  });
});
server.listen(Number(process.argv[2]), "0.0.0.0");
