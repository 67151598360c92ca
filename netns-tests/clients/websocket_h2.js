// A WebSocket of the `ws` library on a stream of node's http2, which is no net.Socket.
const WebSocket = require("/usr/share/nodejs/ws");

exports.openOn = (stream, isServer) => {
  stream.setNoDelay = () => {};
  stream.setTimeout = () => {};
  const socket = new WebSocket(null);
  socket._isServer = isServer;  // who masks
  socket.setSocket(stream, Buffer.alloc(0), {maxPayload: 1 << 20, allowSynchronousEvents: true});
  return socket;
};
