// The same paths as websocket_server.js over HTTP/2 in clear, by extended CONNECT (RFC 8441): node's http2 with frames
// of the `ws` library. Usage: websocket_h2_server.js PORT
const http2 = require("http2");
const {openOn} = require("./websocket_h2.js");

const server = http2.createServer({settings: {enableConnectProtocol: true}});
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  if (headers[":protocol"] !== "websocket") {
    stream.respond({":status": 200});
    stream.end("ready\n");
    return;
  }
  stream.respond({":status": 200});
  const path = headers[":path"];
  const peer = openOn(stream, true);
  peer.on("error", () => {});
  peer.on("message", (data, binary) => {
    peer.send(data, {binary});
    if (path.startsWith("/close-")) peer.close(Number(path.slice(7, 11)), "as asked");
  });
  if (path.startsWith("/push")) for (let i = 0; i < 5; ++i) peer.send(`push ${i}`);
});
server.listen(Number(process.argv[2]), "0.0.0.0");
