// What websocket_talk.py is, over HTTP/2 in clear by extended CONNECT (RFC 8441).
// Usage: websocket_h2_talk.js ORIGIN PATH [MESSAGE|-N|stay]...
const http2 = require("http2");
const {openOn} = require("./websocket_h2.js");

const [origin, path, ...words] = process.argv.slice(2);
const session = http2.connect(origin);
const fail = (error) => { console.error(error.message || error); process.exit(1); };
session.on("error", fail);
session.once("remoteSettings", (settings) => {
  if (!settings.enableConnectProtocol) fail("no extended CONNECT");
  const stream = session.request({":method": "CONNECT", ":protocol": "websocket", ":path": path,
                                  "sec-websocket-version": "13"}, {endStream: false});
  stream.on("error", fail);
  stream.on("response", (headers) => {
    if (headers[":status"] !== 200) fail(`status ${headers[":status"]}`);
    const socket = openOn(stream, false);
    let heard = 0;
    let wanted = 0;
    const goOn = () => {
      while (heard >= wanted) {
        const word = words.shift();
        if (word === "stay") wanted = Infinity;
        else if (word === undefined) return socket.close(1000);
        else if (word.startsWith("-")) wanted += Number(word.slice(1));
        else socket.send(word);
      }
    };
    socket.on("message", (data) => {
      console.log("<", data.toString());
      ++heard;
      goOn();
    });
    socket.on("error", fail);
    socket.on("close", (code, reason) => {
      console.log("closed", code, reason.toString());
      session.destroy();
    });
    goOn();
  });
});
